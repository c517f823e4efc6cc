#include "seconds.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <chrono>

#include "terminal.hpp"

namespace parley::cli {

auto check_seconds(const std::string& text) -> std::string {
  double seconds = -1;
  return CLI::detail::lexical_cast(text, seconds) && seconds >= 0
             ? std::string()
             : fmt::format("{} is no number of seconds", printable(text));
}

auto deadline_after(double seconds) -> Deadline {
  const std::chrono::duration<double> wanted(seconds);
  constexpr std::chrono::hours longest(24 * 365 * 100);
  return wanted < longest ? Deadline::after(std::chrono::ceil<Deadline::Clock::duration>(wanted))
                          : Deadline::never();
}

}  // namespace parley::cli
