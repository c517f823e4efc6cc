// Times that are given as numbers of seconds, with a fraction or without.
#pragma once

#include <string>

#include <parley/deadline.hpp>

namespace parley::cli {

/// For CLI11: what is wrong with it; empty where nothing is.
auto check_seconds(const std::string& text) -> std::string;

/// One too long for the clock is `never()`.
auto deadline_after(double seconds) -> Deadline;

}  // namespace parley::cli
