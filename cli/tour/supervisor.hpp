// Tours one mechanism: makes it, starts the two processes, watches over them, cleans up.
#pragma once

#include <expected>
#include <functional>

#include "signals.hpp"
#include "tour/mechanism.hpp"
#include "tour/outcome.hpp"

namespace parley::cli {

/// The calling process only supervises, so that neither a mechanism that stands still nor the death
/// of a process holds up the clean-up. `progress` is told how many bytes have been received. When
/// this returns, both processes and all that was made are gone.
auto tour_stop(const Stop& stop, const Original& original, Signals& signals,
               const std::function<void(std::uint64_t)>& progress)
    -> std::expected<Outcome, Interrupted>;

}  // namespace parley::cli
