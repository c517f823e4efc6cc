#include "inspected.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "objects.hpp"

namespace parley::cli {

auto kind_of(const Inspection& inspection) -> std::string_view {
  struct Name {
    auto operator()(const SemaphoreSetInspection&) const -> std::string_view {
      return "semaphores";
    }
    auto operator()(const MutexInspection&) const -> std::string_view { return "mutex"; }
    auto operator()(const SharedMemoryInspection&) const -> std::string_view { return "memory"; }
    auto operator()(const StreamInspection&) const -> std::string_view { return "stream"; }
    auto operator()(const MessageQueueInspection&) const -> std::string_view { return "queue"; }
  };
  return std::visit(Name{}, inspection.what);
}

auto left_by_the_dead(const Inspection& inspection) -> LeftByTheDead {
  LeftByTheDead left;
  for (const auto& who : inspection.participants) {
    if (who.is_alive) continue;
    ++left.participants;
    left.adjustments += who.adjustments;
    left.waiting += who.waiting;
    left.messages += who.holding;
  }
  return left;
}

auto count_alive(const Inspection& inspection) -> std::size_t {
  return inspection.participants.size() - left_by_the_dead(inspection).participants;
}

auto rates_between(const Inspection& before, const Inspection& after, double seconds)
    -> std::optional<Rates> {
  const auto* const first = std::get_if<MessageQueueInspection>(&before.what);
  const auto* const second = std::get_if<MessageQueueInspection>(&after.what);
  if (first == nullptr || second == nullptr) return std::nullopt;
  const auto received = [](const MessageQueueInspection& queue) {
    return static_cast<double>(queue.sent) -
           static_cast<double>(queue.messages - std::min(queue.messages, queue.reserved));
  };
  return Rates{
      .sent = static_cast<double>(second->sent - std::min(first->sent, second->sent)) / seconds,
      .received = std::max(0.0, received(*second) - received(*first)) / seconds};
}

auto process_of_thread(std::uint32_t thread) -> std::optional<Process> {
  std::ifstream status(fmt::format("/proc/{}/status", thread));
  for (std::string word; status >> word;) {
    std::uint32_t id = 0;
    if (word != "Tgid:" || !(status >> id)) continue;
    Process process{.id = id, .name = {}};
    std::ifstream name(fmt::format("/proc/{}/comm", id));
    std::getline(name, process.name);
    return process;
  }
  return std::nullopt;
}

auto why_not_seen(Error error) -> std::string {
  if (error == Error::not_supported)
    return "is of a kind or format that this version does not know";
  return why_not(error, "");
}

}  // namespace parley::cli
