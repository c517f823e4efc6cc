#include <doctest/doctest.h>

#include <string>

#include "abi/pages.hpp"
#include "shm/layout/journal.hpp"
#include "shm/layout/latch.hpp"
#include "shm/layout/mutex.hpp"
#include "shm/layout/segment.hpp"
#include "shm/layout/semaphore_set.hpp"
#include "shm/layout/shared_memory.hpp"
#include "shm/layout/stream.hpp"
#include "shm/layout/waiting_line.hpp"

namespace {

using namespace parley::shm;
using namespace parley::test;

// Without a default, so that the compiler misses a value that is not here, and so on the page.
auto name_of(ObjectKind kind) -> std::string {
  switch (kind) {
    case ObjectKind::semaphore_set:
      return "ObjectKind::semaphore_set";
    case ObjectKind::mutex:
      return "ObjectKind::mutex";
    case ObjectKind::shared_memory:
      return "ObjectKind::shared_memory";
    case ObjectKind::stream:
      return "ObjectKind::stream";
    case ObjectKind::message_queue:
      return "ObjectKind::message_queue";
    case ObjectKind::space_table:
      return "ObjectKind::space_table";
  }
  return {};
}

auto name_of(WaiterState state) -> std::string {
  switch (state) {
    case waiter_free:
      return "waiter_free";
    case waiter_waits:
      return "waiter_waits";
    case waiter_cancelled:
      return "waiter_cancelled";
    case waiter_sleeps:
      return "waiter_sleeps";
    case waiter_granted:
      return "waiter_granted";
    case waiter_removed:
      return "waiter_removed";
  }
  return {};
}

auto name_of(SemaphoreDecision decision) -> std::string {
  switch (decision) {
    case waiter_overflow:
      return "waiter_overflow";
    case waiter_refused:
      return "waiter_refused";
  }
  return {};
}

auto name_of(StreamRoleWord word) -> std::string {
  switch (word) {
    case role_vacant:
      return "role_vacant";
    case role_closed:
      return "role_closed";
    case role_died:
      return "role_died";
    case role_told:
      return "role_told";
  }
  return {};
}

auto header() -> Layout {
  using Struct = SegmentHeader;
  return {"SegmentHeader",
          sizeof(Struct),
          {FIELD(magic), FIELD(version), FIELD(kind), FIELD(body_version), FIELD(place_count),
           FIELD(features), FIELD(segment_bytes), FIELD(body_offset), FIELD(uuid), FIELD(boot),
           FIELD(inode), FIELD(places_used), FIELD(arrivals), FIELD(unfenced), FIELD(bell),
           FIELD(reserved)}};
}

auto place() -> Layout {
  using Struct = Place;
  return {"Place", sizeof(Struct), {FIELD(life), FIELD(generation)}};
}

auto latch() -> Layout {
  using Struct = LatchWords;
  return {"LatchWords", sizeof(Struct), {FIELD(holder), FIELD(sleepers)}};
}

auto journal() -> Layout {
  using Struct = Journal;
  return {"Journal", sizeof(Struct), {FIELD(count), FIELD(decision)}};
}

auto journal_entry() -> Layout {
  using Struct = JournalEntry;
  return {"JournalEntry", sizeof(Struct), {FIELD(offset), FIELD(value)}};
}

auto line_ends() -> Layout {
  using Struct = LineEnds;
  return {"LineEnds", sizeof(Struct), {FIELD(first), FIELD(last)}};
}

auto waiter() -> Layout {
  using Struct = Waiter;
  return {
      "Waiter",
      sizeof(Struct),
      {FIELD(state), FIELD(next), FIELD(place), FIELD(request), FIELD(process), FIELD(reserved)}};
}

auto set_body() -> Layout {
  using Struct = SemaphoreSetBody;
  return {"SemaphoreSetBody",
          sizeof(Struct),
          {FIELD(latch), FIELD(journal), FIELD(line), FIELD(last_operation), FIELD(last_change),
           FIELD(removed), FIELD(count), FIELD(operations), FIELD(waiters), FIELD(undo),
           FIELD(unserved), FIELD(backed_rows), FIELD(backed_waiters), FIELD(unused)}};
}

auto semaphore_word() -> Layout {
  using Struct = SemaphoreWord;
  return {"SemaphoreWord", sizeof(Struct), {FIELD(state), FIELD(resets)}};
}

auto mutex_body() -> Layout {
  using Struct = MutexBody;
  return {"MutexBody", sizeof(Struct), {FIELD(latch), FIELD(inherited), FIELD(reserved)}};
}

auto shared_memory_header() -> Layout {
  using Struct = SharedMemoryHeader;
  return {"SharedMemoryHeader", sizeof(Struct), {FIELD(growable), FIELD(reserved)}};
}

auto stream_body() -> Layout {
  using Struct = StreamBody;
  return {"StreamBody",
          sizeof(Struct),
          {FIELD(latch), FIELD(capacity_bytes), FIELD(ring_count), FIELD(unused)}};
}

auto stream_ring() -> Layout {
  using Struct = StreamRing;
  return {"StreamRing",
          sizeof(Struct),
          {FIELD(writer), FIELD(reader), FIELD(died_at), FIELD(unused), FIELD(written),
           FIELD(unused_written), FIELD(read), FIELD(unused_read), FIELD(reader_sleeper),
           FIELD(writer_sleeper)}};
}

auto stream_sleeper() -> Layout {
  using Struct = StreamSleeper;
  return {"StreamSleeper", sizeof(Struct), {FIELD(wake_at), FIELD(sleeps), FIELD(unused)}};
}

}  // namespace

TEST_CASE("the page of the segment is the code's layout") {
  compare_structs("segment", {header(), place()});
  Numbers numbers{{"segment_magic", segment_magic},   {"segment_version", segment_version},
                  {"places_offset", places_offset},   {"body_alignment", body_alignment},
                  {"places_at_most", places_at_most}, {"dead_life", dead_life}};
  add_names<ObjectKind>(numbers, [](ObjectKind value) { return name_of(value); });
  compare_numbers("segment", constants, numbers);
  compare_numbers("segment", "| places | body_offset |",
                  {{"2", body_offset(2)},
                   {"496", body_offset(496)},
                   {"497", body_offset(497)},
                   {"8176", body_offset(8176)}});
}

TEST_CASE("the page of the latch and the journal is the code's layout") {
  compare_structs("latch_and_journal", {latch(), journal(), journal_entry()});
  compare_numbers("latch_and_journal", constants, {{"undecided_bits", undecided_bits}});
}

TEST_CASE("the page of the waiting line is the code's layout") {
  compare_structs("waiting_line", {line_ends(), waiter()});
  Numbers numbers;
  add_names<WaiterState>(numbers, [](WaiterState value) { return name_of(value); });
  compare_numbers("waiting_line", constants, numbers);
}

TEST_CASE("the page of the semaphore set is the code's layout") {
  compare_structs("semaphore_set", {set_body(), semaphore_word()});
  Numbers numbers{{"semaphore_set_version", semaphore_set_version},
                  {"value_bits", value_bits},
                  {"under_latch", under_latch}};
  add_names<SemaphoreDecision>(numbers, [](SemaphoreDecision value) { return name_of(value); });
  compare_numbers("semaphore_set", constants, numbers);
  constexpr SemaphoreSetShape shape{.count = 3, .operations = 2, .waiters = 4, .place_count = 5};
  compare_numbers("semaphore_set", "| part | offset |",
                  {{"journal entries", sizeof(SemaphoreSetBody)},
                   {"semaphores", shape.semaphores()},
                   {"undo rows", shape.undo_rows()},
                   {"waiters", shape.waiter_records()},
                   {"end of the body", shape.body_bytes()}});
}

TEST_CASE("the page of the mutex is the code's layout") {
  compare_structs("mutex", {mutex_body()});
  compare_numbers("mutex", constants, {{"mutex_version", mutex_version}});
}

TEST_CASE("the page of shared memory is the code's layout") {
  compare_structs("shared_memory", {shared_memory_header()});
  compare_numbers("shared_memory", constants,
                  {{"shared_memory_version", shared_memory_version},
                   {"shared_memory_header_offset", shared_memory_header_offset}});
}

TEST_CASE("the page of the stream is the code's layout") {
  compare_structs("stream", {stream_body(), stream_ring(), stream_sleeper()});
  Numbers numbers{{"stream_version", stream_version},
                  {"role_held", role_held},
                  {"stream_capacity_at_least", stream_capacity_at_least},
                  {"stream_capacity_at_most", stream_capacity_at_most},
                  {"stream_data_offset", stream_data_offset}};
  add_names<StreamRoleWord>(numbers, [](StreamRoleWord value) { return name_of(value); });
  compare_numbers("stream", constants, numbers);
}
