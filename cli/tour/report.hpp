// The tour's results, and the three forms in which they are told.
#pragma once

#include <string>
#include <vector>

#include "terminal.hpp"
#include "tour/outcome.hpp"

namespace parley::cli {

/// Without which no measurement can be compared with another.
struct System {
  std::string kernel;  ///< "Linux 6.1.0 x86_64"
  unsigned processor_count = 0;

  static auto of_this_machine() -> System;
};

struct Results {
  std::string path;  ///< Of the file, as it was given.
  std::string time;  ///< When the tour began, in UTC.
  System system;
  Fingerprint original;
  std::vector<Outcome> outcomes;

  [[nodiscard]] auto count(Verdict verdict) const -> std::size_t;

  /// "15 of 16 mechanisms verified, 1 refused."
  [[nodiscard]] auto summary() const -> std::string;

  /// The greatest throughput of those that were verified; 0 if none was.
  [[nodiscard]] auto fastest() const -> double;
};

auto as_table(const Results& results, const Terminal& terminal) -> std::string;
auto as_json(const Results& results) -> std::string;
auto as_html(const Results& results) -> std::string;

}  // namespace parley::cli
