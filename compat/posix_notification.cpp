#include "posix_notification.hpp"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "handles.hpp"

namespace parley::compat {
namespace {

struct Registration {
  mqd_t number;
  FileNumbers file;
  std::uint64_t listener;
  sigevent event;
  std::optional<pthread_t> thread;  ///< None for SIGEV_NONE.
};

/// Changed under `Opening` alone. Never destroyed, as all that programs call at their very end.
auto registrations() -> std::vector<Registration>& {
  static auto* const all = new std::vector<Registration>;
  return *all;
}

/// How many, for who looks without a lock.
constinit std::atomic<std::size_t> registered{0};

void after_fork_in_child() {
  registrations().clear();
  registered.store(0, std::memory_order_relaxed);
}

/// Out of the list: whoever has it tells what is to be told, and lets its thread go.
template <class Which>
auto take_out(Which which) -> std::optional<Registration> {
  auto& all = registrations();
  const auto found = std::ranges::find_if(all, which);
  if (found == all.end()) return std::nullopt;
  auto taken = *found;
  all.erase(found);
  registered.store(all.size(), std::memory_order_relaxed);
  return taken;
}

/// As the kernel does: si_code and who sent the message.
void raise_signal(const sigevent& event, const Arrival& arrival) {
  if (event.sigev_signo == 0) return;
  siginfo_t info{};
  info.si_signo = event.sigev_signo;
  info.si_code = SI_MESGQ;
  info.si_pid = arrival.process;
  info.si_uid = arrival.user;
  info.si_value = event.sigev_value;
  syscall(SYS_rt_sigqueueinfo, getpid(), event.sigev_signo, &info);
}

auto run_function(void* argument) -> void* {
  const std::unique_ptr<sigevent> event(static_cast<sigevent*>(argument));
  event->sigev_notify_function(event->sigev_value);
  return nullptr;
}

/// In a thread of its own, which nobody joins, with what the program's attributes say of its stack
/// and of how it is scheduled.
void start_function(const sigevent& event) {
  pthread_attr_t attributes{};
  pthread_attr_init(&attributes);
  if (const auto* const wanted = event.sigev_notify_attributes; wanted != nullptr) {
    std::size_t bytes = 0;
    int number = 0;
    sched_param scheduling{};
    if (pthread_attr_getstacksize(wanted, &bytes) == 0 && bytes != 0) {
      pthread_attr_setstacksize(&attributes, bytes);
    }
    if (pthread_attr_getguardsize(wanted, &bytes) == 0) {
      pthread_attr_setguardsize(&attributes, bytes);
    }
    if (pthread_attr_getschedpolicy(wanted, &number) == 0) {
      pthread_attr_setschedpolicy(&attributes, number);
    }
    if (pthread_attr_getschedparam(wanted, &scheduling) == 0) {
      pthread_attr_setschedparam(&attributes, &scheduling);
    }
    if (pthread_attr_getinheritsched(wanted, &number) == 0) {
      pthread_attr_setinheritsched(&attributes, number);
    }
  }
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  auto copy = std::make_unique<sigevent>(event);
  pthread_t thread{};
  if (pthread_create(&thread, &attributes, run_function, copy.get()) == 0) {
    static_cast<void>(copy.release());
  }
  pthread_attr_destroy(&attributes);
}

void tell(const sigevent& event, const Arrival& arrival) {
  if (event.sigev_notify == SIGEV_SIGNAL) raise_signal(event, arrival);
  if (event.sigev_notify == SIGEV_THREAD) start_function(event);
}

struct Waiting {
  QueueDescriptors::Use open;
  std::uint64_t listener;
};

/// All signals are blocked in it.
auto wait_for_message(void* argument) -> void* {
  const std::unique_ptr<Waiting> waiting(static_cast<Waiting*>(argument));
  const auto arrival = waiting->open->queue.await_arrival(waiting->listener, Deadline::never());
  const Opening opening;
  const auto file = waiting->open->file;
  const auto mine = take_out([&](const Registration& each) {
    return each.file == file && each.listener == waiting->listener;
  });
  if (!mine) return nullptr;  // whoever has it joins this thread
  pthread_detach(pthread_self());
  if (arrival) tell(mine->event, *arrival);
  return nullptr;
}

auto start_waiting(mqd_t number, std::uint64_t listener) -> Result<pthread_t> {
  auto open = queue_descriptors().use(number);
  if (!open) return failure(Error::bad_descriptor);
  auto waiting = std::make_unique<Waiting>(std::move(*open), listener);
  pthread_t thread{};
  if (pthread_create(&thread, nullptr, wait_for_message, waiting.get()) != 0) {
    return failure(Error::would_block);
  }
  static_cast<void>(waiting.release());
  return thread;
}

/// Once the lock is free, which that thread may want.
void let_go(const Registration& registration) {
  if (registration.thread) pthread_join(*registration.thread, nullptr);
}

/// Ends it, and tells what came before that.
void end(const Registration& registration) {
  const auto open = queue_descriptors().use(registration.number);
  if (!open) return;
  const auto stopped = (*open)->queue.stop_listening(registration.listener);
  if (!stopped || *stopped) return;
  const auto arrival = (*open)->queue.await_arrival(registration.listener, Deadline::now());
  if (arrival) tell(registration.event, *arrival);
}

}  // namespace

auto add_registration(mqd_t number, OpenQueue& open, const sigevent& event) -> Result<void> {
  tell_registered(open);
  const Opening opening;
  [[maybe_unused]] static const int told = pthread_atfork(nullptr, nullptr, after_fork_in_child);
  const auto listener = PARLEY_TRY(open.queue.listen());
  Registration made{.number = number,
                    .file = open.file,
                    .listener = listener,
                    .event = event,
                    .thread = std::nullopt};
  if (event.sigev_notify != SIGEV_NONE) {
    auto thread = start_waiting(number, listener);
    if (!thread) {
      static_cast<void>(open.queue.stop_listening(listener));
      return failure(thread.error());
    }
    made.thread = *thread;
  }
  registrations().push_back(made);
  registered.store(registrations().size(), std::memory_order_relaxed);
  return {};
}

void remove_registration(FileNumbers file) {
  if (registered.load(std::memory_order_relaxed) == 0) return;
  std::optional<Registration> taken;
  {
    const Opening opening;
    taken = take_out([&](const Registration& each) { return each.file == file; });
    if (taken) end(*taken);
  }
  if (taken) let_go(*taken);
}

void remove_stale_registrations() {
  while (registered.load(std::memory_order_relaxed) != 0) {
    std::optional<Registration> taken;
    {
      const Opening opening;
      taken =
          take_out([](const Registration& each) { return numbers_of(each.number) != each.file; });
      if (taken) end(*taken);
    }
    if (!taken) return;
    let_go(*taken);
  }
}

void tell_registered(OpenQueue& open) {
  if (registered.load(std::memory_order_relaxed) == 0) [[likely]]
    return;
  std::optional<Registration> taken;
  {
    const Opening opening;
    std::optional<Arrival> arrival;
    taken = take_out([&](const Registration& each) {
      if (each.file != open.file) return false;
      const auto told = open.queue.await_arrival(each.listener, Deadline::now());
      if (told) arrival = *told;
      return told.has_value();
    });
    if (taken) tell(taken->event, *arrival);
  }
  if (taken) let_go(*taken);
}

}  // namespace parley::compat
