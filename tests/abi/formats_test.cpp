#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shm/layout/journal.hpp"
#include "shm/layout/latch.hpp"
#include "shm/layout/message_queue.hpp"
#include "shm/layout/mutex.hpp"
#include "shm/layout/segment.hpp"
#include "shm/layout/semaphore_set.hpp"
#include "shm/layout/shared_memory.hpp"
#include "shm/layout/stream.hpp"
#include "shm/layout/waiting_line.hpp"

// One field of the struct that is being described.
#define FIELD(name) {#name, offsetof(Struct, name), sizeof(Struct::name)}

namespace {

using namespace parley::shm;

struct Field {
  std::string name;
  std::size_t offset;
  std::size_t size;

  auto operator==(const Field&) const -> bool = default;
};

struct Layout {
  std::string name;
  std::size_t size;
  std::vector<Field> fields;
};

using Row = std::vector<std::string>;
using Numbers = std::map<std::string, std::uint64_t>;

/// A page of docs/formats, as its lines.
auto page(const std::string& name) -> std::vector<std::string> {
  std::ifstream file(std::string(PARLEY_FORMATS) + "/" + name + ".md");
  REQUIRE(file.is_open());
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

/// The cells of a table's line, without the spaces and backticks around them.
auto cells(const std::string& line) -> Row {
  Row row;
  for (std::size_t from = 1; from < line.size();) {
    const auto to = line.find('|', from);
    std::string cell = line.substr(from, to - from);
    std::erase_if(cell, [](char c) { return c == '`'; });
    const auto first = cell.find_first_not_of(' ');
    const auto last = cell.find_last_not_of(' ');
    row.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
    from = to + 1;
  }
  return row;
}

/// The rows of the tables that begin with `head`, from a line on and before the next heading.
auto rows(const std::vector<std::string>& lines, std::size_t from, const std::string& head)
    -> std::vector<Row> {
  std::vector<Row> found;
  for (std::size_t at = from; at < lines.size() && !lines[at].starts_with("##"); ++at) {
    if (!lines[at].starts_with(head)) continue;
    for (at += 2; at < lines.size() && lines[at].starts_with("|"); ++at) {
      found.push_back(cells(lines[at]));
    }
  }
  return found;
}

auto rows_of_page(const std::vector<std::string>& lines, const std::string& head)
    -> std::vector<Row> {
  std::vector<Row> found = rows(lines, 0, head);
  for (std::size_t at = 0; at < lines.size(); ++at) {
    if (!lines[at].starts_with("##")) continue;
    std::ranges::move(rows(lines, at + 1, head), std::back_inserter(found));
  }
  return found;
}

auto fields_on(const std::vector<std::string>& lines, const Layout& layout) -> std::vector<Field> {
  const auto heading = "## `" + layout.name + "`: " + std::to_string(layout.size) + " bytes";
  const auto at = std::ranges::find(lines, heading);
  CAPTURE(heading);
  REQUIRE(at != lines.end());
  std::vector<Field> fields;
  const auto begin = static_cast<std::size_t>(at - lines.begin()) + 1;
  for (const Row& row : rows(lines, begin, "| offset | size | field |")) {
    CHECK_FALSE(row.at(3).empty());
    fields.push_back({row.at(2), std::stoull(row.at(0)), std::stoull(row.at(1))});
  }
  return fields;
}

/// The page's structs are these, field by field, and the fields leave no gap.
void compare_structs(const std::string& name, const std::vector<Layout>& layouts) {
  CAPTURE(name);
  const auto lines = page(name);
  for (const Layout& layout : layouts) {
    CAPTURE(layout.name);
    const auto told = fields_on(lines, layout);
    CHECK(told.size() == layout.fields.size());
    std::size_t end = 0;
    for (std::size_t i = 0; i < std::min(told.size(), layout.fields.size()); ++i) {
      const Field& field = layout.fields[i];
      CAPTURE(field.name);
      CHECK(told[i].name == field.name);
      CHECK(told[i].offset == field.offset);
      CHECK(told[i].size == field.size);
      CHECK(field.offset == end);
      end = field.offset + field.size;
    }
    CHECK(end == layout.size);
  }
  const auto structs =
      std::ranges::count_if(lines, [](const auto& line) { return line.starts_with("## `"); });
  CHECK(static_cast<std::size_t>(structs) == layouts.size());
}

void compare_numbers(const std::string& name, const std::string& head, const Numbers& numbers) {
  CAPTURE(name);
  Numbers told;
  for (const Row& row : rows_of_page(page(name), head)) {
    told[row.at(0)] = std::stoull(row.at(1), nullptr, 0);
  }
  CHECK(told == numbers);
}

constexpr auto constants = "| constant | value |";

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

auto name_of(MessageKind kind) -> std::string {
  switch (kind) {
    case message_reserved:
      return "message_reserved";
    case message_queued:
      return "message_queued";
    case message_copied:
      return "message_copied";
    case message_taken:
      return "message_taken";
    case message_moving:
      return "message_moving";
    case message_finished:
      return "message_finished";
    case message_returned:
      return "message_returned";
  }
  return {};
}

auto name_of(MessageRequest request) -> std::string {
  switch (request) {
    case request_receive:
      return "request_receive";
    case request_receive_cut:
      return "request_receive_cut";
    case request_take:
      return "request_take";
    case request_send:
      return "request_send";
  }
  return {};
}

auto name_of(MessageSelector selector) -> std::string {
  switch (selector) {
    case select_oldest:
      return "select_oldest";
    case select_tag:
      return "select_tag";
    case select_up_to:
      return "select_up_to";
    case select_except:
      return "select_except";
    case select_highest:
      return "select_highest";
  }
  return {};
}

auto name_of(MessageDecision decision) -> std::string {
  switch (decision) {
    case waiter_too_big:
      return "waiter_too_big";
    case waiter_again:
      return "waiter_again";
    case waiter_given_up:
      return "waiter_given_up";
  }
  return {};
}

/// All values of an enumeration that have a name, up to a number that none reaches.
template <class Enumeration>
void add_names(Numbers& numbers) {
  for (std::uint32_t value = 0; value < 1024; ++value) {
    const auto name = name_of(static_cast<Enumeration>(value));
    if (!name.empty()) numbers[name] = value;
  }
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
           FIELD(unserved), FIELD(unused)}};
}

auto semaphore_word() -> Layout {
  using Struct = SemaphoreWord;
  return {"SemaphoreWord", sizeof(Struct), {FIELD(state), FIELD(resets)}};
}

auto queue_body() -> Layout {
  using Struct = MessageQueueBody;
  return {"MessageQueueBody",
          sizeof(Struct),
          {FIELD(latch),
           FIELD(journal),
           FIELD(line),
           FIELD(load),
           FIELD(order),
           FIELD(slots),
           FIELD(groups),
           FIELD(tags),
           FIELD(priorities),
           FIELD(sequence),
           FIELD(last_send),
           FIELD(last_receive),
           FIELD(arena),
           FIELD(arena_sizes),
           FIELD(bytes_limit),
           FIELD(last_change),
           FIELD(removed),
           FIELD(backed_slots),
           FIELD(backed_groups),
           FIELD(backed_arena),
           FIELD(trims),
           FIELD(bytes),
           FIELD(dead_letter_tag),
           FIELD(messages),
           FIELD(message_bytes),
           FIELD(waiters),
           FIELD(redeliveries),
           FIELD(has_dead_letters),
           FIELD(unused)}};
}

auto message_slot() -> Layout {
  using Struct = MessageSlot;
  return {"MessageSlot",
          sizeof(Struct),
          {FIELD(state), FIELD(tag), FIELD(shape), FIELD(where), FIELD(order), FIELD(by_tag),
           FIELD(by_priority), FIELD(held), FIELD(payload)}};
}

auto message_group() -> Layout {
  using Struct = MessageGroup;
  return {"MessageGroup",
          sizeof(Struct),
          {FIELD(key), FIELD(list), FIELD(children), FIELD(bit), FIELD(free), FIELD(unused)}};
}

auto arena_block() -> Layout {
  using Struct = ArenaBlock;
  return {"ArenaBlock", sizeof(Struct), {FIELD(extent), FIELD(owner), FIELD(links), FIELD(unused)}};
}

auto arena_classes() -> Layout {
  using Struct = ArenaClasses;
  return {"ArenaClasses", sizeof(Struct), {FIELD(columns), FIELD(first)}};
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
  add_names<ObjectKind>(numbers);
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
  add_names<WaiterState>(numbers);
  compare_numbers("waiting_line", constants, numbers);
}

TEST_CASE("the page of the semaphore set is the code's layout") {
  compare_structs("semaphore_set", {set_body(), semaphore_word()});
  Numbers numbers{{"semaphore_set_version", semaphore_set_version},
                  {"value_bits", value_bits},
                  {"under_latch", under_latch}};
  add_names<SemaphoreDecision>(numbers);
  compare_numbers("semaphore_set", constants, numbers);
  constexpr SemaphoreSetShape shape{.count = 3, .operations = 2, .waiters = 4, .place_count = 5};
  compare_numbers("semaphore_set", "| part | offset |",
                  {{"journal entries", sizeof(SemaphoreSetBody)},
                   {"semaphores", shape.semaphores()},
                   {"undo rows", shape.undo_rows()},
                   {"waiters", shape.waiter_records()},
                   {"end of the body", shape.body_bytes()}});
}

TEST_CASE("the page of the message queue is the code's layout") {
  compare_structs("message_queue",
                  {queue_body(), message_slot(), message_group(), arena_block(), arena_classes()});
  Numbers numbers{{"message_queue_version", message_queue_version},
                  {"messages_at_most", messages_at_most},
                  {"message_bytes_at_most", message_bytes_at_most},
                  {"queue_bytes_at_most", queue_bytes_at_most},
                  {"load_bytes_shift", load_bytes_shift},
                  {"inline_bytes", inline_bytes},
                  {"no_node", no_node},
                  {"arena_unit", arena_unit},
                  {"arena_rows", arena_rows},
                  {"arena_columns", arena_columns},
                  {"message_waiter_words", message_waiter_words},
                  {"message_journal_entries", message_journal_entries}};
  add_names<MessageKind>(numbers);
  add_names<MessageRequest>(numbers);
  add_names<MessageSelector>(numbers);
  add_names<MessageDecision>(numbers);
  compare_numbers("message_queue", constants, numbers);
  constexpr MessageQueueShape shape{
      .messages = 100, .message_bytes = 1000, .bytes = 10'000, .waiters = 4, .place_count = 5};
  compare_numbers("message_queue", "| part | offset |",
                  {{"journal entries", shape.journal()},
                   {"arena classes", shape.arena_classes()},
                   {"holdings", shape.holdings()},
                   {"waiters", shape.waiter_records()},
                   {"slots", shape.slots()},
                   {"groups", shape.groups()},
                   {"arena", shape.arena()},
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
  add_names<StreamRoleWord>(numbers);
  compare_numbers("stream", constants, numbers);
}
