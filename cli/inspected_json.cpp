#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "inspected.hpp"

namespace parley::cli {
namespace {

using nlohmann::ordered_json;
using std::chrono::sys_seconds;

/// Seconds since 1970.
auto of_time(sys_seconds time) -> ordered_json {
  return time.time_since_epoch().count();
}
auto of_time(const std::optional<sys_seconds>& time) -> ordered_json {
  return time ? of_time(*time) : ordered_json(nullptr);
}
/// 0 is none.
auto of_number(std::uint32_t number) -> ordered_json {
  return number != 0 ? ordered_json(number) : ordered_json(nullptr);
}

auto uuid_text(const std::array<std::byte, 16>& uuid) -> std::string {
  std::string text;
  for (const auto byte : uuid) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

auto of_participant(const InspectedParticipant& who) -> ordered_json {
  ordered_json json{{"place", who.place},
                    {"alive", who.is_alive},
                    {"keeper_thread", of_number(who.keeper_thread)},
                    {"process", of_number(who.process)},
                    {"name", nullptr},
                    {"adjustments", who.adjustments},
                    {"waiting", who.waiting},
                    {"holding", who.holding}};
  if (!who.is_alive) return json;
  if (const auto process = process_of_thread(who.keeper_thread)) {
    json["process"] = process->id;
    json["name"] = process->name;
  }
  return json;
}

auto of_role(const InspectedRole& role) -> ordered_json {
  return {{"holder", role.holder ? ordered_json(*role.holder) : ordered_json(nullptr)},
          {"was_closed", role.was_closed},
          {"holder_died", role.holder_died}};
}

struct OfKind {
  auto operator()(const SemaphoreSetInspection& set) const -> ordered_json {
    auto semaphores = ordered_json::array();
    for (const auto& each : set.semaphores) {
      semaphores.push_back({{"value", each.value},
                            {"last_process", of_number(each.last_process)},
                            {"waiting_for_increase", each.waiting_for_increase},
                            {"waiting_for_zero", each.waiting_for_zero}});
    }
    return {{"undo", set.has_undo},
            {"removed", set.is_removed},
            {"operations_at_most", set.operations_at_most},
            {"waiters_at_most", set.waiters_at_most},
            {"last_operation", of_time(set.last_operation)},
            {"last_change", of_time(set.last_change)},
            {"values", semaphores}};
  }

  auto operator()(const MutexInspection& mutex) const -> ordered_json {
    return {{"holder", mutex.holder ? ordered_json(*mutex.holder) : ordered_json(nullptr)},
            {"peer_died", mutex.peer_died}};
  }

  auto operator()(const SharedMemoryInspection& memory) const -> ordered_json {
    ordered_json json{
        {"size_bytes", memory.size_bytes}, {"growable", memory.is_growable}, {"sealed", nullptr}};
    if (memory.seals) json["sealed"] = memory.seals->write || memory.seals->future_write;
    return json;
  }

  auto operator()(const StreamInspection& stream) const -> ordered_json {
    auto rings = ordered_json::array();
    for (const auto& ring : stream.rings) {
      rings.push_back({{"writer", of_role(ring.writer)},
                       {"reader", of_role(ring.reader)},
                       {"written_bytes", ring.written_bytes},
                       {"read_bytes", ring.read_bytes}});
    }
    return {{"capacity_bytes", stream.capacity_bytes}, {"rings", rings}};
  }

  auto operator()(const MessageQueueInspection& queue) const -> ordered_json {
    auto depths = ordered_json::array();
    for (const auto& [tag, messages] : queue.depths) {
      depths.push_back({{"tag", tag}, {"messages", messages}});
    }
    ordered_json json{{"removed", queue.is_removed},
                      {"messages", queue.messages},
                      {"bytes", queue.bytes},
                      {"taken", queue.taken},
                      {"reserved", queue.reserved},
                      {"dead_letters", queue.dead_letters},
                      {"sent", queue.sent},
                      {"messages_at_most", queue.messages_at_most},
                      {"bytes_at_most", queue.bytes_at_most},
                      {"message_bytes_at_most", queue.message_bytes_at_most},
                      {"waiters_at_most", queue.waiters_at_most},
                      {"dead_letter_tag", nullptr},
                      {"redeliveries_at_most", queue.redeliveries_at_most},
                      {"receivers_waiting", queue.receivers_waiting},
                      {"senders_waiting", queue.senders_waiting},
                      {"depths", depths},
                      {"last_sender", of_number(queue.last_sender)},
                      {"last_receiver", of_number(queue.last_receiver)},
                      {"last_send", of_time(queue.last_send)},
                      {"last_receive", of_time(queue.last_receive)},
                      {"last_change", of_time(queue.last_change)}};
    if (queue.dead_letter_tag) json["dead_letter_tag"] = *queue.dead_letter_tag;
    return json;
  }
};

}  // namespace

auto as_json(const Inspection& object, const Rates& rates) -> ordered_json {
  if (std::holds_alternative<MessageQueueInspection>(object.what)) {
    return {{"sent_per_second", rates.front().in}, {"received_per_second", rates.front().out}};
  }
  auto rings = ordered_json::array();
  for (const auto& [in, out] : rates) {
    rings.push_back({{"written_bytes_per_second", in}, {"read_bytes_per_second", out}});
  }
  return {{"rings", rings}};
}

auto as_json(const Seen& seen, const std::optional<Rates>& rates) -> ordered_json {
  const auto& object = seen.inspection;
  const auto left = left_by_the_dead(object);
  auto participants = ordered_json::array();
  for (const auto& who : object.participants) participants.push_back(of_participant(who));
  ordered_json json{{"path", seen.path},
                    {"kind", kind_of(object)},
                    {"uuid", uuid_text(object.uuid)},
                    {"format", object.format_version},
                    {"file_bytes", object.file_bytes},
                    {"memory_bytes", object.memory_bytes},
                    {"mode", fmt::format("{:04o}", object.mode)},
                    {"owner", object.owner},
                    {"group", object.group},
                    {"steady", object.is_steady},
                    {"participants_at_most", object.participants_at_most},
                    {"participants", participants},
                    {"left_by_the_dead",
                     {{"participants", left.participants},
                      {"locked", object.is_locked_by_the_dead},
                      {"words_to_store", object.words_to_store},
                      {"adjustments", left.adjustments},
                      {"waiting", left.waiting},
                      {"messages", left.messages}}},
                    {std::string(kind_of(object)), std::visit(OfKind{}, object.what)}};
  if (rates) json["rates"] = as_json(object, *rates);
  return json;
}

auto written(const ordered_json& json, int indent) -> std::string {
  return json.dump(indent, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace parley::cli
