// What `parley ls` and `parley show` tell of an object, for people and for programs.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <parley/inspect.hpp>

namespace parley::cli {

/// An object that was looked at.
struct Seen {
  std::string path;
  Inspection inspection;
};

/// "queue": the word that `parley new` takes.
auto kind_of(const Inspection& inspection) -> std::string_view;

/// What the participants that are dead have left; it is cleaned up by whoever next uses the object.
struct LeftByTheDead {
  std::size_t participants = 0;
  std::size_t adjustments = 0;
  std::size_t waiting = 0;
  std::size_t messages = 0;
};
auto left_by_the_dead(const Inspection& inspection) -> LeftByTheDead;

auto count_alive(const Inspection& inspection) -> std::size_t;

/// What came and went per second: messages of a queue, bytes of a ring.
struct Flow {
  double in;
  double out;
};
/// Of a queue, or of each ring of a stream.
using Rates = std::vector<Flow>;

/// Between two looks at an object. None for objects of other kinds.
auto rates_between(const Inspection& before, const Inspection& after, double seconds)
    -> std::optional<Rates>;

/// The process that has a thread of that number, as far as /proc of this system knows.
struct Process {
  std::uint32_t id;
  std::string name;
};
auto process_of_thread(std::uint32_t thread) -> std::optional<Process>;

auto as_text(const Seen& seen, const std::optional<Rates>& rates) -> std::string;
auto as_json(const Seen& seen, const std::optional<Rates>& rates) -> nlohmann::ordered_json;
auto as_json(const Inspection& object, const Rates& rates) -> nlohmann::ordered_json;

/// "12.0" of a queue, "1.2 MiB" of a ring.
auto amount_text(const Inspection& object, double amount) -> std::string;

/// Text that need not be UTF-8 is made so.
auto written(const nlohmann::ordered_json& json, int indent = 2) -> std::string;

/// What `inspect` fails with.
auto why_not_seen(Error error) -> std::string;

}  // namespace parley::cli
