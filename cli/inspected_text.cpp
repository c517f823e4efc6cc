#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

#include "inspected.hpp"
#include "terminal.hpp"
#include "tour/quantities.hpp"

namespace parley::cli {
namespace {

using std::chrono::sys_seconds;

/// Of a long list so much is shown; all of it is in the JSON.
constexpr std::size_t lines_at_most = 40;

/// A page of labels and what belongs to them.
class Page {
 public:
  void add(std::string_view label, std::string_view text) {
    text_ += fmt::format("{:14}{}\n", label, text);
  }

  /// One item of a list; those that are too many are only counted.
  void item(std::string_view label, std::size_t position, std::size_t count,
            std::string_view text) {
    if (position < lines_at_most) add(position == 0 ? label : "", text);
    if (position == lines_at_most) add("", fmt::format("… and {} more", count - position));
  }

  auto take() -> std::string { return std::move(text_); }

 private:
  std::string text_;
};

auto time_text(sys_seconds time) -> std::string {
  const auto seconds = time.time_since_epoch().count();
  constexpr std::int64_t year_9999 = 253'402'300'799;
  // What stands there may be anything.
  if (seconds < 0 || seconds > year_9999) return fmt::format("second {}", seconds);
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(seconds));
}

auto event_text(const std::optional<sys_seconds>& time, std::uint32_t process) -> std::string {
  if (!time) return "never";
  return fmt::format("{}, by process {}", time_text(*time), process);
}

auto counted(std::size_t count, std::string_view one, std::string_view many) -> std::string {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}
auto semaphores_to_undo(std::size_t count) -> std::string {
  return ", " + counted(count, "semaphore", "semaphores") + " to undo";
}

auto bytes_text(std::uint64_t bytes) -> std::string {
  return with_byte_unit(static_cast<double>(bytes));
}

auto role_text(const InspectedRole& role) -> std::string {
  if (role.holder) return fmt::format("at place {}", *role.holder);
  return role.holder_died ? "died" : role.was_closed ? "closed" : "vacant";
}

struct AddKind {
  Page& page;

  void operator()(const SemaphoreSetInspection& set) const {
    for (std::size_t i = 0; i < set.semaphores.size(); ++i) {
      const auto& each = set.semaphores[i];
      auto text = fmt::format("{}: {}", i, each.value);
      if (each.waiting_for_increase != 0) {
        text += fmt::format(", {} wait for more", each.waiting_for_increase);
      }
      if (each.waiting_for_zero != 0) {
        text += fmt::format(", {} wait for zero", each.waiting_for_zero);
      }
      if (each.last_process != 0) text += fmt::format(", last process {}", each.last_process);
      page.item("values", i, set.semaphores.size(), text);
    }
    page.add("undo", set.has_undo ? "yes" : "no");
    if (set.is_removed) page.add("removed", "yes");
    page.add("limits", fmt::format("{} operations in a call, {} calls that wait",
                                   set.operations_at_most, set.waiters_at_most));
    page.add("operated",
             set.last_operation ? time_text(*set.last_operation) : "never, or not noted");
    page.add("set", time_text(set.last_change));
  }

  void operator()(const MutexInspection& mutex) const {
    page.add("held", mutex.holder ? fmt::format("by place {}", *mutex.holder) : "no");
    if (mutex.peer_died) page.add("peer died", "yes: its holder is told, or the next one will be");
  }

  void operator()(const SharedMemoryInspection& memory) const {
    page.add("size", with_separators(memory.size_bytes) + " bytes");
    page.add("may grow", memory.is_growable ? "yes" : "no");
    if (memory.seals) page.add("sealed", memory.seals->write ? "yes" : "no");
  }

  void operator()(const StreamInspection& stream) const {
    page.add("capacity", bytes_text(stream.capacity_bytes));
    for (const auto& ring : stream.rings) {
      page.add("ring", fmt::format("{} bytes written, {} read", with_separators(ring.written_bytes),
                                   with_separators(ring.read_bytes)));
      page.add("", "writer " + role_text(ring.writer) + ", reader " + role_text(ring.reader));
    }
  }

  void operator()(const MessageQueueInspection& queue) const {
    page.add("messages", fmt::format("{} of at most {}", with_separators(queue.messages),
                                     with_separators(queue.messages_at_most)));
    page.add("bytes",
             fmt::format("{} of at most {}, {} in a message", bytes_text(queue.bytes),
                         bytes_text(queue.bytes_at_most), bytes_text(queue.message_bytes_at_most)));
    if (queue.is_removed) page.add("removed", "yes");
    for (std::size_t i = 0; i < queue.depths.size(); ++i) {
      const auto& [tag, messages] = queue.depths[i];
      page.item("by tag", i, queue.depths.size(),
                fmt::format("{}: {}", tag, with_separators(messages)));
    }
    page.add("held", fmt::format("{} taken, {} being written", queue.taken, queue.reserved));
    page.add("waiting", fmt::format("{} to receive, {} to send", queue.receivers_waiting,
                                    queue.senders_waiting));
    if (queue.dead_letter_tag) {
      page.add("dead letters", fmt::format("{}, tag {}, after {} redeliveries", queue.dead_letters,
                                           *queue.dead_letter_tag, queue.redeliveries_at_most));
    }
    page.add("sent", fmt::format("{} in all; {}", with_separators(queue.sent),
                                 event_text(queue.last_send, queue.last_sender)));
    page.add("received", event_text(queue.last_receive, queue.last_receiver));
  }
};

auto participant_text(const InspectedParticipant& who) -> std::string {
  auto text = fmt::format("{}: {}", who.place, who.is_alive ? "alive" : "dead");
  const auto process = who.is_alive ? process_of_thread(who.keeper_thread) : std::nullopt;
  if (process) {
    text += fmt::format(", process {} ({})", process->id, printable(process->name));
  } else if (who.process != 0) {
    text += fmt::format(", process {}", who.process);
  }
  if (who.adjustments != 0) text += semaphores_to_undo(who.adjustments);
  if (who.waiting != 0) text += ", waits in " + counted(who.waiting, "call", "calls");
  if (who.holding != 0) text += ", holds " + counted(who.holding, "message", "messages");
  return text;
}

void add_dead(Page& page, const Inspection& object) {
  const auto left = left_by_the_dead(object);
  if (left.participants == 0) return;
  auto text = counted(left.participants, "place", "places");
  if (object.is_locked_by_the_dead) text += ", the lock of the object";
  if (object.words_to_store != 0)
    text += ", " + counted(object.words_to_store, "word", "words") + " to store";
  if (left.adjustments != 0) text += semaphores_to_undo(left.adjustments);
  if (left.waiting != 0) text += ", " + counted(left.waiting, "call", "calls") + " that waited";
  if (left.messages != 0) text += ", " + counted(left.messages, "message", "messages");
  page.add("left by dead", text + "; cleaned up by whoever next uses the object");
}

void add_rates(Page& page, const Inspection& object, const Rates& rates) {
  const bool is_queue = std::holds_alternative<MessageQueueInspection>(object.what);
  for (const auto& [in, out] : rates) {
    page.add("per second",
             fmt::format("{} {}, {} {}", amount_text(object, in), is_queue ? "sent" : "written",
                         amount_text(object, out), is_queue ? "received" : "read"));
  }
}

}  // namespace

auto amount_text(const Inspection& object, double amount) -> std::string {
  const bool is_queue = std::holds_alternative<MessageQueueInspection>(object.what);
  return is_queue ? fmt::format("{:.1f}", amount) : with_byte_unit(amount);
}

auto as_text(const Seen& seen, const std::optional<Rates>& rates) -> std::string {
  const auto& object = seen.inspection;
  Page page;
  page.add("path", printable(seen.path));
  page.add("kind", kind_of(object));
  page.add("file", fmt::format("{}, {} in memory, mode {:04o}, owner {}, group {}",
                               bytes_text(object.file_bytes), bytes_text(object.memory_bytes),
                               object.mode, object.owner, object.group));
  std::visit(AddKind{page}, object.what);
  if (rates) add_rates(page, object, *rates);
  if (object.participants_at_most != 0) {
    page.add("participants", fmt::format("{} of at most {}", object.participants.size(),
                                         object.participants_at_most));
  }
  for (std::size_t i = 0; i < object.participants.size(); ++i) {
    page.item("", i, object.participants.size(), participant_text(object.participants[i]));
  }
  add_dead(page, object);
  if (!object.is_steady)
    page.add("note", "it changes all the time: the numbers may not fit together");
  return page.take();
}

}  // namespace parley::cli
