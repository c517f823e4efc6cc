// Parley's objects as targets of the harness.
#pragma once

#include <vector>

#include "hostile/harness.hpp"

namespace parley::test {

auto set_with_undo() -> Target;
auto set_of_one_without_undo() -> Target;
auto mutex() -> Target;
/// A stream whose ends the victim takes when it is under attack, or just before.
auto stream_with_free_ends() -> Target;
auto stream_with_held_ends() -> Target;

/// As if the first participant of three had died with the latch in its hands.
auto with_a_dead_holder(Image image) -> Image;
auto message_queue() -> Target;
/// In one of its states alone: new, in use, with a dead participant, dead with the latch.
auto message_queue_of(std::size_t image) -> Target;

/// One of each; of the streams the one whose ends are held.
auto every_object() -> std::vector<Target>;

}  // namespace parley::test
