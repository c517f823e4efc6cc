#include "tour/report.hpp"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <thread>

namespace parley::cli {

auto System::of_this_machine() -> System {
  utsname name{};
  uname(&name);  // it cannot fail: the address is good
  return {.kernel = fmt::format("{} {} {}", name.sysname, name.release, name.machine),
          .processor_count = std::thread::hardware_concurrency()};
}

auto Results::count(Verdict verdict) const -> std::size_t {
  return static_cast<std::size_t>(std::ranges::count(outcomes, verdict, &Outcome::verdict));
}

auto Results::summary() const -> std::string {
  auto text =
      fmt::format("{} of {} mechanisms verified", count(Verdict::verified), outcomes.size());
  for (const auto verdict : {Verdict::refused, Verdict::differs, Verdict::failed}) {
    if (count(verdict) != 0) text += fmt::format(", {} {}", count(verdict), name_of(verdict));
  }
  return text + ".";
}

auto Results::fastest() const -> double {
  double fastest = 0;
  for (const auto& outcome : outcomes) {
    if (outcome.verdict != Verdict::verified) continue;
    fastest = std::max(fastest, outcome.bytes_per_second());
  }
  return fastest;
}

}  // namespace parley::cli
