// The System V memory that this process has attached, and how attachments are counted.
//
// Beside a segment's file lies a set of two semaphores. The first is the number of attachments:
// each adds one with undo, so whatever ends a process detaches what it had, at once. The second is
// what that number would be if nobody had ended since somebody looked, who then notes the
// difference as detachments in the segment's entry. But for that, both change under the lock of the
// table. Children of fork(2) count what they inherit before that call returns.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include <parley/semaphore_set.hpp>

#include "process.hpp"

namespace parley::compat {

/// The semaphores beside a segment's file.
class AttachmentCounter {
 public:
  static auto create(const std::string& segment_path, mode_t mode) -> Result<void>;
  static void unlink(const std::string& segment_path);
  static void set_mode(const std::string& segment_path, mode_t mode);
  static auto open(const std::string& segment_path) -> Result<AttachmentCounter>;

  auto add() -> Result<void>;
  auto take() -> Result<void>;
  auto count() -> Result<int>;
  /// How many there are; notes in the entry who has ended. Under the table's lock.
  auto settle(SpaceEntry& entry) -> Result<int>;

 private:
  explicit AttachmentCounter(SemaphoreSet set) noexcept : set_(std::move(set)) {}

  SemaphoreSet set_;
};

/// Maps a segment, as `map` does, and counts it. `access_denied`, `invalid` as `check` and `find`
/// say.
struct MappedSegment {
  void* address;
  std::size_t bytes;
};
using MapSegment = std::function<Result<MappedSegment>(const SpaceEntry&, const std::string& path)>;
auto attach(SpaceTable& table, int id, const MapSegment& map) -> Result<void*>;

/// Unmaps what begins there and is an attachment. `invalid` where nothing is.
auto detach(SpaceTable& table, const void* address) -> Result<void>;

/// What is known of a segment now.
struct SegmentStatus {
  SpaceEntry entry;
  int attachments;
};
auto look_at(SpaceTable& table, const SpaceEntry& entry) -> SegmentStatus;

/// Removes it if it is marked and nobody has it attached any more.
void remove_if_unused(SpaceTable& table, int id);
/// All of them.
void remove_unused(SpaceTable& table);

}  // namespace parley::compat
