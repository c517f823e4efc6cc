#include <doctest/doctest.h>

#include <string>

#include "abi/pages.hpp"
#include "shm/layout/message_queue.hpp"

namespace {

using namespace parley::shm;
using namespace parley::test;

// Without a default, so that the compiler misses a value that is not here, and so on the page.
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
           FIELD(limit),
           FIELD(last_change),
           FIELD(removed),
           FIELD(backed_slots),
           FIELD(backed_groups),
           FIELD(backed_arena),
           FIELD(trims),
           FIELD(unserved),
           FIELD(bytes),
           FIELD(dead_letter_tag),
           FIELD(messages),
           FIELD(message_bytes),
           FIELD(waiters),
           FIELD(redeliveries),
           FIELD(has_dead_letters),
           FIELD(note),
           FIELD(backed_waiters),
           FIELD(listener),
           FIELD(told),
           FIELD(told_by)}};
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

}  // namespace

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
  add_names<MessageKind>(numbers, [](MessageKind value) { return name_of(value); });
  add_names<MessageRequest>(numbers, [](MessageRequest value) { return name_of(value); });
  add_names<MessageSelector>(numbers, [](MessageSelector value) { return name_of(value); });
  add_names<MessageDecision>(numbers, [](MessageDecision value) { return name_of(value); });
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
