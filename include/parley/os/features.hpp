// What this kernel, this container and this process's limits allow, found out by trying.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <parley/error.hpp>

namespace parley::os {

enum class Presence {
  present,  ///< It was tried and works.
  limited,  ///< It works, but less of it is there than Parley would use; `detail` says what.
  missing,  ///< It was tried and refused.
  unknown,  ///< It could not be tried; `error` or `detail` says why.
};

/// What the number in `Feature::value` counts.
enum class Unit { none, count, bytes };

/// One fact about the machine.
struct Feature {
  std::string_view group{};
  std::string_view name{};  ///< Unique; lower case, digits and underscores. It does not change.
  Presence presence = Presence::unknown;
  bool is_needed = false;  ///< Without it Parley does not work; else it only improves.
  std::optional<std::uint64_t> value{};  ///< A limit, size or version; none where it is unlimited.
  Unit unit = Unit::none;
  std::string detail{};          ///< For people; may be empty.
  std::optional<Error> error{};  ///< What the attempt failed with.
  std::string_view used_for{};   ///< What Parley does with it.
  std::string_view without{};    ///< What it costs not to have it, or little of it.
};

/// Tries every feature that Parley uses or will use, in the order in which they are to be shown;
/// always the same names. Nothing is guessed from a version.
///
/// Each is tried in a short-lived child, so that a filter which kills it is an answer too; nothing
/// that is tried stays: no descriptor, name, System V object, limit or process. The children raise
/// no SIGCHLD and use no memory allocation, so a process with threads may call this. Takes tens of
/// milliseconds; a child that does not answer within five seconds makes its feature `unknown`.
auto probe_features() -> std::vector<Feature>;

/// Whether it is known to be there, if less of it than one would like.
constexpr auto is_usable(const Feature& feature) noexcept -> bool {
  return feature.presence == Presence::present || feature.presence == Presence::limited;
}

/// Whether everything that is needed is known to be there.
auto has_all_needed(const std::vector<Feature>& features) -> bool;

}  // namespace parley::os
