#include "inspected.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "objects.hpp"

namespace parley::cli {
namespace {

/// What has come and gone so far.
auto counts_of(const Inspection& object) -> std::optional<std::vector<Flow>> {
  if (const auto* const queue = std::get_if<MessageQueueInspection>(&object.what)) {
    const auto sent = static_cast<double>(queue->sent);
    const auto there = queue->messages - std::min(queue->messages, queue->reserved);
    return std::vector<Flow>{{.in = sent, .out = sent - static_cast<double>(there)}};
  }
  const auto* const stream = std::get_if<StreamInspection>(&object.what);
  if (stream == nullptr) return std::nullopt;
  std::vector<Flow> rings;
  rings.reserve(stream->rings.size());
  for (const auto& ring : stream->rings) {
    rings.push_back({.in = static_cast<double>(ring.written_bytes),
                     .out = static_cast<double>(ring.read_bytes)});
  }
  return rings;
}

}  // namespace

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
  const auto first = counts_of(before);
  const auto second = counts_of(after);
  if (!first || !second || first->size() != second->size()) return std::nullopt;
  Rates rates;
  for (std::size_t i = 0; i < second->size(); ++i) {
    // Others write meanwhile what they like.
    rates.push_back({.in = std::max(0.0, (*second)[i].in - (*first)[i].in) / seconds,
                     .out = std::max(0.0, (*second)[i].out - (*first)[i].out) / seconds});
  }
  return rates;
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
