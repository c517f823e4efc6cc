// The tour's results, and the three forms in which they are told.
#pragma once

#include <string>
#include <vector>

#include "terminal.hpp"
#include "tour/outcome.hpp"

namespace parley::cli {

struct Results {
  std::string path;  ///< Of the file, as it was given.
  Fingerprint original;
  std::vector<Outcome> outcomes;

  [[nodiscard]] auto count(Verdict verdict) const -> std::size_t;

  /// "14 of 15 mechanisms verified, 1 refused."
  [[nodiscard]] auto summary() const -> std::string;

  /// The greatest throughput of those that were verified; 0 if none was.
  [[nodiscard]] auto fastest() const -> double;
};

auto as_table(const Results& results, const Terminal& terminal) -> std::string;
auto as_json(const Results& results) -> std::string;
auto as_html(const Results& results) -> std::string;

}  // namespace parley::cli
