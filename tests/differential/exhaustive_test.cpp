#include <doctest/doctest.h>

#include <cstdio>

#include "differential/comparison.hpp"

using namespace parley;
using namespace parley::test;

namespace {

using Operations = std::vector<SemaphoreOperation>;

auto call(const Operations& operations) -> Command {
  Command command{.count = static_cast<std::uint16_t>(operations.size())};
  std::ranges::copy(operations, command.operations.begin());
  return command;
}

auto set_to(std::uint16_t index, int value) -> Command {
  return {.verb = Verb::set_value, .index = index, .value = value};
}

/// All programs of as many calls as there are participants, the n-th call by the n-th of them.
/// Where `with_deaths`, then each ends in turn.
void compare_all(const std::vector<Command>& alphabet, const std::vector<std::uint16_t>& values,
                 bool undo, std::size_t calls, bool with_deaths) {
  const TempDir directory;
  Participants participants;
  for (std::size_t i = 0; i < calls; ++i) participants.push_back(std::make_unique<Participant>());
  std::vector<std::size_t> program(calls);
  std::size_t programs = 0;
  for (bool more = true; more; ++programs) {
    Comparison comparison(directory, participants, values, undo);
    for (std::size_t who = 0; who < calls; ++who) comparison.step(who, alphabet[program[who]]);
    for (std::size_t who = 0; with_deaths && who < calls; ++who) {
      comparison.replace(who, std::nullopt);
    }
    more = false;
    for (auto& letter : program) {
      more = ++letter < alphabet.size();
      if (more) break;
      letter = 0;
    }
  }
  std::printf("%zu steps of %zu programs compared, which are all\n", Comparison::steps(), programs);
}

const std::vector<Command> on_one{
    call({{.index = 0, .delta = -1}}),
    call({{.index = 0, .delta = -2}}),
    call({{.index = 0, .delta = 0}}),
    call({{.index = 0, .delta = 1}}),
    call({{.index = 0, .delta = 2}}),
    call({{.index = 0, .delta = -1, .no_wait = true}}),
    call({{.index = 0, .delta = 0}, {.index = 0, .delta = 1}}),
    call({{.index = 0, .delta = -1}, {.index = 0, .delta = 0}}),
    call({{.index = 0, .delta = 32767}}),
    set_to(0, 0),
    set_to(0, 2),
    {.verb = Verb::remove},
};

const std::vector<Command> on_two{
    call({{.index = 0, .delta = -1}}),
    call({{.index = 0, .delta = 0}}),
    call({{.index = 0, .delta = 1}}),
    call({{.index = 1, .delta = -1}}),
    call({{.index = 1, .delta = 1}}),
    call({{.index = 0, .delta = -1}, {.index = 1, .delta = -1}}),
    call({{.index = 1, .delta = -1}, {.index = 0, .delta = -1}}),
    call({{.index = 0, .delta = 0}, {.index = 1, .delta = 1}}),
    call({{.index = 0, .delta = -1}, {.index = 1, .delta = 1}}),
    call({{.index = 1, .delta = -1}, {.index = 0, .delta = 1, .no_wait = true}}),
    call({{.index = 0, .delta = 2}, {.index = 1, .delta = -1, .no_wait = true}}),
    set_to(1, 1),
};

const std::vector<Command> undone{
    call({{.index = 0, .delta = -1, .undo = true}}),
    call({{.index = 0, .delta = 0}}),
    call({{.index = 0, .delta = 1, .undo = true}}),
    call({{.index = 0, .delta = 2, .undo = true}}),
    call({{.index = 0, .delta = -1}}),
    call({{.index = 0, .delta = -2, .undo = true}, {.index = 1, .delta = 1, .undo = true}}),
    call({{.index = 1, .delta = -1, .undo = true}}),
    call({{.index = 1, .delta = -1}, {.index = 0, .delta = -1, .undo = true}}),
    set_to(0, 1),
};

}  // namespace

TEST_CASE("all programs of three calls on one semaphore do the same as in the kernel") {
  compare_all(on_one, {0}, true, 3, false);
}

TEST_CASE("all programs of three calls on one semaphore without undo, of value 1") {
  compare_all(on_one, {1}, false, 3, false);
}

TEST_CASE("all programs of three calls on two semaphores do the same as in the kernel") {
  compare_all(on_two, {0, 0}, true, 3, false);
}

TEST_CASE("all programs of two calls with undo and the deaths of both callers") {
  compare_all(undone, {1, 0}, true, 2, true);
}
