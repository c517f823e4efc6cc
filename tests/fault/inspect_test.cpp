#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <parley/inspect.hpp>
#include <parley/message_queue.hpp>
#include <parley/mutex.hpp>
#include <parley/semaphore_set.hpp>
#include <parley/shared_memory.hpp>
#include <parley/stream.hpp>

#include "support/faults.hpp"
#include "support/temp_dir.hpp"

namespace {

using namespace parley;
using parley::test::fail_each_call;
using parley::test::Failures;
using parley::test::Outcome;
using parley::test::TempDir;

/// An object of each kind, all of them in use.
struct Objects {
  TempDir dir;
  SemaphoreSet set = SemaphoreSet::create(dir / "set", std::vector<std::uint16_t>{1}).value();
  Mutex mutex = Mutex::create(dir / "mutex").value();
  SharedMemory memory = SharedMemory::create(dir / "memory", {.size_bytes = 4096}).value();
  Stream stream = Stream::create(dir / "stream").value();
  MessageQueue queue = MessageQueue::create(dir / "queue").value();

  [[nodiscard]] auto paths() const -> std::vector<std::string> {
    std::vector<std::string> all;
    for (const auto* name : {"set", "mutex", "memory", "stream", "queue"})
      all.push_back(dir / name);
    return all;
  }
};

}  // namespace

TEST_CASE("a look whose call fails says so or tells the truth, and leaves no descriptor") {
  const Objects objects;
  for (const auto& path : objects.paths()) {
    CAPTURE(path);
    const auto whole = inspect(path).value();
    // The boot's number and the seals are done without where they are not to be had.
    const int calls = fail_each_call(
        [&]() -> Outcome {
          const auto seen = inspect(path);
          if (!seen) return failure(seen.error());
          CHECK(seen->uuid == whole.uuid);
          CHECK(seen->what.index() == whole.what.index());
          CHECK(seen->participants.size() == whole.participants.size());
          for (const auto& who : seen->participants) CHECK(who.is_alive);
          return {};
        },
        Failures::may_be_survived);
    CHECK(calls > 4);
  }
}
