// The tour's results for programs; parley(1) documents the fields.
#include <nlohmann/json.hpp>

#include "tour/report.hpp"
#include "tour/worker.hpp"

namespace parley::cli {
namespace {

using nlohmann::ordered_json;

auto of_fingerprint(const Fingerprint& fingerprint) -> ordered_json {
  return {{"size_bytes", fingerprint.size_bytes}, {"xxh3_128", fingerprint.hex()}};
}

auto of_outcome(const Outcome& outcome) -> ordered_json {
  ordered_json json{{"name", outcome.stop->name},
                    {"title", outcome.stop->title},
                    {"verdict", name_of(outcome.verdict)}};
  if (outcome.verdict != Verdict::verified) json["reason"] = outcome.reason;
  if (outcome.verdict == Verdict::differs) json["copy"] = of_fingerprint(outcome.copy);
  if (outcome.verdict != Verdict::verified) return json;
  json["copy"] = of_fingerprint(outcome.copy);
  json["message_bytes"] = outcome.message_bytes;
  json["transfer_ns"] = outcome.transfer_ns;
  json["bytes_per_second"] = outcome.bytes_per_second();
  json["round_trip"] = {{"message_bytes", echo_bytes},
                        {"samples", outcome.round_trips.sample_count},
                        {"median_ns", outcome.round_trips.median_ns},
                        {"p99_ns", outcome.round_trips.p99_ns}};
  return json;
}

}  // namespace

auto as_json(const Results& results) -> std::string {
  auto file = of_fingerprint(results.original);
  file["path"] = results.path;
  auto mechanisms = ordered_json::array();
  for (const auto& outcome : results.outcomes) mechanisms.push_back(of_outcome(outcome));
  const ordered_json system{{"kernel", results.system.kernel},
                            {"processors", results.system.processor_count}};
  const ordered_json json{{"parley", PARLEY_VERSION},
                          {"time", results.time},
                          {"system", system},
                          {"file", file},
                          {"mechanisms", mechanisms}};
  // A path need not be UTF-8.
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace parley::cli
