// Inspection: what an object says of itself, read without taking part in it.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <parley/message_queue.hpp>
#include <parley/os/descriptor.hpp>
#include <parley/os/memfd.hpp>
#include <parley/semaphore_set.hpp>

namespace parley {

/// Who stands in an object. What a dead one still has is cleaned up by whoever next uses the
/// object.
struct InspectedParticipant {
  std::uint32_t place;
  bool is_alive;
  /// The thread that the kernel knows it by, in its own PID namespace; 0 once it was killed.
  std::uint32_t keeper_thread;
  std::uint32_t process;    ///< As it knows itself, where the object has noted it; 0: it has not.
  std::size_t adjustments;  ///< Semaphores that its end changes.
  std::size_t waiting;      ///< Calls that wait.
  std::size_t holding;      ///< Messages that it holds or is writing.
};

struct InspectedSemaphore {
  std::uint16_t value;
  std::uint32_t last_process;  ///< 0: none yet.
  std::size_t waiting_for_increase;
  std::size_t waiting_for_zero;
};

struct SemaphoreSetInspection {
  bool has_undo;
  bool is_removed;
  std::size_t operations_at_most;
  std::size_t waiters_at_most;
  std::vector<InspectedSemaphore> semaphores;
  std::optional<std::chrono::sys_seconds> last_operation;
  std::chrono::sys_seconds last_change;
};

struct MutexInspection {
  std::optional<std::uint32_t> holder;  ///< Its place; none: it is free.
  bool peer_died;                       ///< What Mutex::peer_died says to its holder.
};

struct SharedMemoryInspection {
  std::size_t size_bytes;
  bool is_growable;
  std::optional<os::Seals> seals;  ///< None: a file, which has none.
};

struct MessageQueueInspection {
  bool is_removed;
  std::size_t messages;
  std::uint64_t bytes;
  std::size_t taken;
  std::size_t reserved;
  std::size_t dead_letters;
  std::uint64_t sent;  ///< In all; a dead letter counts again. Less `messages`: received.
  std::size_t messages_at_most;
  std::uint64_t bytes_at_most;
  std::size_t message_bytes_at_most;
  std::size_t waiters_at_most;
  std::optional<std::uint64_t> dead_letter_tag;
  std::uint32_t redeliveries_at_most;
  std::size_t receivers_waiting;
  std::size_t senders_waiting;
  std::vector<TagDepth> depths;  ///< As MessageQueue::depths.
  std::uint32_t last_sender;     ///< 0: none yet.
  std::uint32_t last_receiver;
  std::optional<std::chrono::sys_seconds> last_send;
  std::optional<std::chrono::sys_seconds> last_receive;
  std::chrono::sys_seconds last_change;
};

/// One end of a ring.
struct InspectedRole {
  std::optional<std::uint32_t> holder;  ///< Its place.
  bool was_closed;                      ///< Of the last one, where nobody holds it.
  bool holder_died;
};

struct InspectedRing {
  InspectedRole writer;
  InspectedRole reader;
  std::uint64_t written_bytes;  ///< In all.
  std::uint64_t read_bytes;
};

struct StreamInspection {
  std::size_t capacity_bytes;        ///< Of each ring.
  std::vector<InspectedRing> rings;  ///< One, or the two of a pair.
};

struct Inspection {
  std::array<std::byte, 16> uuid;
  std::uint32_t format_version;  ///< Of the kind's own layout.
  std::size_t file_bytes;
  std::size_t memory_bytes;  ///< That the file has taken from the system.
  mode_t mode;               ///< The permissions alone.
  uid_t owner;
  gid_t group;

  /// Whether all of this was so at one moment. Else others changed the object each time that it was
  /// looked at, and the numbers may not fit together.
  bool is_steady;

  std::size_t participants_at_most;  ///< 0: nobody takes part in this kind.
  std::vector<InspectedParticipant> participants;
  /// What a dead participant was in the middle of: the lock inside of the object is held, and so
  /// many words of a change are decided and perhaps not stored. Always by whoever comes next.
  bool is_locked_by_the_dead;
  std::size_t words_to_store;

  std::variant<SemaphoreSetInspection, MutexInspection, SharedMemoryInspection, StreamInspection,
               MessageQueueInspection>
      what;
};

/// Reads an object through a descriptor that may be one that only reads. Takes no place and no
/// lock, writes nothing, and follows nothing that the object says: it counts. Others may use it
/// meanwhile; of an object that changes all the time the last look is told, with `is_steady` false.
///
/// `invalid`: no object of ours; `not_supported`: of a kind or format that this version does not
/// know; `corrupt`: it contradicts itself.
auto inspect(os::BorrowedFd fd) -> Result<Inspection>;

/// The same, by name: see object.hpp.
auto inspect(std::string_view name) -> Result<Inspection>;

/// The directory of objects that have a bare name. It may not be there.
auto object_directory() -> std::string;

}  // namespace parley
