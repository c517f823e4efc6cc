#include "attachments.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <ctime>
#include <utility>
#include <vector>

#include "export.hpp"

namespace parley::compat {
namespace {

constexpr std::uint32_t participants = 1023;  // attachments to one segment that are counted
constexpr std::uint16_t attached = 0;         // the first semaphore
constexpr std::uint16_t expected = 1;         // the second

auto counter_path(const std::string& segment_path) -> std::string {
  return segment_path + ".attachments";
}

struct Attachment {
  MappedSegment where;
  int id;
  AttachmentCounter counter;
  bool is_counted = true;

  [[nodiscard]] auto begin() const -> std::uintptr_t {
    return reinterpret_cast<std::uintptr_t>(where.address);
  }
  [[nodiscard]] auto end() const -> std::uintptr_t { return begin() + where.bytes; }
};

constinit pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
constinit std::vector<Attachment>* all = nullptr;  // never destroyed

/// Held by the thread that attaches or detaches, and by one that forks.
class Locked {
 public:
  Locked() noexcept { pthread_mutex_lock(&mutex); }
  Locked(const Locked&) = delete;
  auto operator=(const Locked&) -> Locked& = delete;
  ~Locked() { pthread_mutex_unlock(&mutex); }

 private:
  NoCancel no_cancel_;
  NoSignals no_signals_;
};

/// Of the fork(2) that is under way, under the lock.
struct Fork {
  sigset_t signals;
  std::array<int, 2> pipe;  ///< Closed by the child once it has counted. -1: there is none.
};
constinit Fork forking{.signals = {}, .pipe = {-1, -1}};

void before_fork() {
  sigset_t every{};
  sigfillset(&every);
  sigset_t before{};
  pthread_sigmask(SIG_SETMASK, &every, &before);
  pthread_mutex_lock(&mutex);
  forking.signals = before;
  if (all->empty() || pipe2(forking.pipe.data(), O_CLOEXEC) != 0) forking.pipe = {-1, -1};
}

void after_fork() {
  const auto signals = forking.signals;
  pthread_mutex_unlock(&mutex);
  pthread_sigmask(SIG_SETMASK, &signals, nullptr);
}

void close_end(std::size_t which) {
  if (forking.pipe[which] >= 0) close(std::exchange(forking.pipe[which], -1));
}

/// Counts an attachment of this process, for which that one is to be named. Under the table's lock.
auto count_in(AttachmentCounter& counter, SpaceEntry& entry, pid_t process) -> Result<void> {
  PARLEY_TRY(counter.settle(entry));
  PARLEY_TRY(counter.add());
  entry.attached = std::time(nullptr);
  entry.last_process = process;
  return {};
}

void after_fork_in_parent() {
  const int before = errno;
  close_end(1);
  if (forking.pipe[0] >= 0) {
    // Its end closes it as well; one that is stopped is not waited for.
    constexpr int patience_ms = 1000;
    pollfd counted{.fd = forking.pipe[0], .events = 0, .revents = 0};
    static_cast<void>(poll(&counted, 1, patience_ms));
  }
  close_end(0);
  errno = before;
  after_fork();
}

void after_fork_in_child() {
  const int before = errno;
  close_end(0);
  auto& table = space()->table(SpaceKind::memory);
  for (auto& each : *all) {
    each.is_counted =
        table
            .change(each.id,
                    [&](SpaceEntry& entry) { return count_in(each.counter, entry, getppid()); })
            .has_value();
  }
  close_end(1);
  errno = before;
  after_fork();
}

/// Takes an attachment out of the count; of one that is already unmapped, or is about to be.
void count_out(SpaceTable& table, Attachment& attachment) {
  if (!attachment.is_counted) return;
  const auto noted = table.change(attachment.id, [&](SpaceEntry& entry) -> Result<void> {
    static_cast<void>(attachment.counter.settle(entry));
    PARLEY_TRY(attachment.counter.take());
    entry.detached = std::time(nullptr);
    entry.last_process = getpid();
    return {};
  });
  // Where the table is gone, the count goes with the handle.
  if (noted) remove_if_unused(table, attachment.id);
}

/// Forgets what another mapping has just taken the place of.
void forget_replaced(SpaceTable& table, const MappedSegment& by) {
  const auto begin = reinterpret_cast<std::uintptr_t>(by.address);
  const auto end = begin + by.bytes;
  std::erase_if(*all, [&](Attachment& each) {
    const bool replaced = each.begin() >= begin && each.end() <= end;
    if (replaced) count_out(table, each);
    return replaced;
  });
}

/// At exit(3): the memory stays where it is, since other threads may still use it.
[[gnu::destructor]] void leave() {
  if (all == nullptr) return;
  const Locked locked;
  auto& table = space()->table(SpaceKind::memory);
  for (auto& each : *all) count_out(table, each);
  all->clear();
}

}  // namespace

auto AttachmentCounter::create(const std::string& segment_path, mode_t mode) -> Result<void> {
  const auto made = SemaphoreSet::create(
      counter_path(segment_path), std::array<std::uint16_t, 2>{0, 0},
      {.mode = mode, .participants = participants, .operations = 2, .waiters = 1});
  return made ? Result<void>() : failure(made.error());
}

void AttachmentCounter::unlink(const std::string& segment_path) {
  static_cast<void>(SemaphoreSet::unlink(counter_path(segment_path)));
}

void AttachmentCounter::set_mode(const std::string& segment_path, mode_t mode) {
  static_cast<void>(chmod(counter_path(segment_path).c_str(), mode));
}

auto AttachmentCounter::open(const std::string& segment_path) -> Result<AttachmentCounter> {
  auto set = PARLEY_TRY(SemaphoreSet::open(counter_path(segment_path)));
  if (set.count() != 2 || !set.has_undo()) return failure(Error::corrupt);
  PARLEY_TRY(set.close_descriptor());
  return AttachmentCounter(std::move(set));
}

auto AttachmentCounter::add() -> Result<void> {
  return set_.operate(std::array{SemaphoreOperation{.index = attached, .delta = 1, .undo = true},
                                 SemaphoreOperation{.index = expected, .delta = 1}},
                      Deadline::now());
}

auto AttachmentCounter::take() -> Result<void> {
  return set_.operate(std::array{SemaphoreOperation{.index = attached, .delta = -1, .undo = true},
                                 SemaphoreOperation{.index = expected, .delta = -1}},
                      Deadline::now());
}

auto AttachmentCounter::count() -> Result<int> {
  return PARLEY_TRY(set_.value(attached));
}

auto AttachmentCounter::settle(SpaceEntry& entry) -> Result<int> {
  const auto values = PARLEY_TRY(set_.values());
  const int ended = values[expected] - values[attached];
  if (ended > 0) {
    const auto last = PARLEY_TRY(set_.status()).last_operation;
    entry.detached = last ? last->time_since_epoch().count() : std::time(nullptr);
    entry.last_process = PARLEY_TRY(set_.last_process(attached));
    PARLEY_TRY(set_.operate({.index = expected, .delta = static_cast<std::int16_t>(-ended)},
                            Deadline::now()));
  }
  return values[attached];
}

auto attach(SpaceTable& table, int id, const MapSegment& map) -> Result<void*> {
  const Locked locked;
  if (all == nullptr) all = new std::vector<Attachment>;
  remove_if_unused(table, id);
  MappedSegment mapped{};
  std::optional<AttachmentCounter> counted_by;
  const auto done = table.change(id, [&](SpaceEntry& entry) -> Result<void> {
    const auto path = table.path_of(id);
    mapped = PARLEY_TRY(map(entry, path));
    auto counter = AttachmentCounter::open(path);
    const auto counted = counter ? count_in(*counter, entry, getpid()) : failure(counter.error());
    if (!counted) {
      munmap(mapped.address, mapped.bytes);
      return failure(counted.error() == Error::no_space ? Error::out_of_memory : counted.error());
    }
    counted_by.emplace(std::move(*counter));
    return {};
  });
  if (!done) return failure(done.error());
  forget_replaced(table, mapped);
  all->push_back({.where = mapped, .id = id, .counter = std::move(*counted_by)});
  // After the table was used: its handlers then run inside of these.
  [[maybe_unused]] static const int told =
      pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
  return mapped.address;
}

auto detach(SpaceTable& table, const void* address) -> Result<void> {
  const Locked locked;
  if (all == nullptr) return failure(Error::invalid);
  const auto found = std::ranges::find(*all, address, [](const Attachment& each) {
    return static_cast<const void*>(each.where.address);
  });
  if (found == all->end()) return failure(Error::invalid);
  auto attachment = std::move(*found);
  all->erase(found);
  munmap(attachment.where.address, attachment.where.bytes);
  count_out(table, attachment);
  return {};
}

auto look_at(SpaceTable& table, const SpaceEntry& entry) -> SegmentStatus {
  SegmentStatus status{.entry = entry, .attachments = 0};
  static_cast<void>(table.change(entry.id, [&](SpaceEntry& now) -> Result<void> {
    auto counter = PARLEY_TRY(AttachmentCounter::open(table.path_of(entry.id)));
    status.attachments = PARLEY_TRY(counter.settle(now));
    status.entry = now;
    return {};
  }));
  return status;
}

void remove_if_unused(SpaceTable& table, int id) {
  const auto found = table.find(id);
  if (!found || !found->is_marked) return;
  static_cast<void>(table.remove(id, [&](const SpaceEntry& entry) -> Result<void> {
    auto counter = AttachmentCounter::open(table.path_of(id));
    if (!counter) {
      return counter.error() == Error::not_found ? Result<void>() : failure(counter.error());
    }
    const auto count = PARLEY_TRY(counter->count());
    return entry.is_marked && count == 0 ? Result<void>() : failure(Error::busy);
  }));
}

void remove_unused(SpaceTable& table) {
  const auto status = table.status();
  if (status.marked == 0) return;
  for (int index = 0; index <= status.highest_index; ++index) {
    if (const auto entry = table.at(index)) remove_if_unused(table, entry->id);
  }
}

}  // namespace parley::compat
