// Two ways to do one thing, timed against each other in one run.
//
// The machine is noisy and its speed drifts, so no absolute time is worth much. Each round times a
// batch of both, in alternating order, and yields one ratio; what is shown is the median of the
// ratios and where the middle half of them lies.
#pragma once

#include <algorithm>
#include <chrono>
#include <string_view>
#include <vector>

#include <fmt/core.h>

namespace parley::bench {

/// Keeps the compiler from leaving out what computes `value`.
template <class T>
void keep(T const& value) {
  asm volatile("" : : "r,m"(value) : "memory");
}

inline auto quantile(std::vector<double> values, double part) -> double {
  const auto at = static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

/// Nanoseconds for one of `count` runs of `body`.
template <class Body>
auto time_each(int count, Body& body) -> double {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) body();
  const std::chrono::duration<double, std::nano> all = std::chrono::steady_clock::now() - start;
  return all.count() / count;
}

inline void print_heading(std::string_view ours, std::string_view theirs) {
  fmt::print("\n{:<44}{:>12}{:>12}{:>9}  {}\n", "", ours, theirs, "ratio", "middle half");
}

/// Prints a line: the medians of what each of the two gives, nanoseconds, and of their ratio.
template <class Ours, class Theirs>
void compare(std::string_view name, Ours our_sample, Theirs their_sample) {
  constexpr int rounds = 201;
  std::vector<double> our_ns;
  std::vector<double> their_ns;
  std::vector<double> ratios;
  for (int round = 0; round < rounds; ++round) {
    double first = 0;
    double second = 0;
    if (round % 2 == 0) {
      first = our_sample();
      second = their_sample();
    } else {
      second = their_sample();
      first = our_sample();
    }
    our_ns.push_back(first);
    their_ns.push_back(second);
    ratios.push_back(first / second);
  }
  fmt::print("{:<44}{:>9.0f} ns{:>9.0f} ns{:>9.2f}  {:.2f} to {:.2f}\n", name,
             quantile(our_ns, 0.5), quantile(their_ns, 0.5), quantile(ratios, 0.5),
             quantile(ratios, 0.25), quantile(ratios, 0.75));
}

/// Times batches of `ours` against batches of `theirs`.
template <class Ours, class Theirs>
void paired(std::string_view name, Ours ours, Theirs theirs) {
  constexpr double round_ns = 500'000;
  const int count = std::max(1, static_cast<int>(round_ns / std::max(1.0, time_each(100, theirs))));
  compare(name, [&] { return time_each(count, ours); }, [&] { return time_each(count, theirs); });
}

}  // namespace parley::bench
