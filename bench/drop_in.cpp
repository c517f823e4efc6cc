#include "drop_in.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <parley/os/child.hpp>
#include <parley/os/pipe.hpp>
#include <parley/space.hpp>

#include "paired.hpp"

namespace parley::bench {
namespace {

/// A space that goes when this does.
class OwnSpace {
 public:
  OwnSpace() : path_(Space::own_path().value() + "-of-the-bench") {
    static_cast<void>(Space::remove(path_));
    static_cast<void>(Space::open_or_create(path_).value());
  }
  OwnSpace(const OwnSpace&) = delete;
  auto operator=(const OwnSpace&) -> OwnSpace& = delete;
  ~OwnSpace() { static_cast<void>(Space::remove(path_)); }

  [[nodiscard]] auto path() const -> const std::string& { return path_; }

 private:
  std::string path_;
};

/// The program while it runs. It ends when its standard input does.
class Running {
 public:
  /// On the kernel's objects.
  Running() : Running(std::nullopt) {}
  /// On those of a space.
  explicit Running(const OwnSpace& space)
      : Running(std::vector<std::string>{"LD_PRELOAD=" PARLEY_DROP_IN,
                                         "PARLEY_SPACE=" + space.path()}) {}
  Running(const Running&) = delete;
  auto operator=(const Running&) -> Running& = delete;
  ~Running() {
    questions_.reset();
    keep(child_->wait(Deadline::never()));
  }

  /// Nanoseconds of one operation.
  auto measure(int number) -> double {
    const auto question = std::to_string(number) + '\n';
    questions_->write(std::as_bytes(std::span(question)), Deadline::never()).value();
    std::string answer;
    while (!answer.ends_with('\n')) {
      std::array<std::byte, 64> part{};
      const auto size = answers_->read(part, Deadline::never()).value();
      if (size == 0) throw std::runtime_error("the drop-in's program has ended");
      answer.append(reinterpret_cast<const char*>(part.data()), size);
    }
    return std::stod(answer);
  }

 private:
  explicit Running(std::optional<std::vector<std::string>> environment) {
    auto questions = os::Pipe::create().value();
    auto answers = os::Pipe::create().value();
    os::set_nonblocking(questions.reader.fd(), false).value();
    os::set_nonblocking(answers.writer.fd(), false).value();
    child_ =
        os::Child::start({.program = PARLEY_DROP_IN_PROGRAM,
                          .environment = std::move(environment),
                          .descriptors = {{questions.reader.fd(), 0}, {answers.writer.fd(), 1}},
                          .standard_io = os::StandardIo::inherited,
                          .die_with_parent = true})
            .value();
    questions_ = std::move(questions.writer);
    answers_ = std::move(answers.reader);
  }

  std::optional<os::PipeWriter> questions_;
  std::optional<os::PipeReader> answers_;
  std::optional<os::Child> child_;
};

/// In the order of the program's numbers.
constexpr std::array names{"semop: give and take",
                           "semop: the same with SEM_UNDO",
                           "64 B: msgsnd and msgrcv",
                           "msgrcv by type behind 200 others",
                           "64 B: mq_send and mq_receive",
                           "64 B between two processors, there and back",
                           "64 B from one processor to another"};
constexpr int by_key_of_few = 7;
constexpr int by_key_of_many = 8;

}  // namespace

void drop_in() {
  const OwnSpace space;
  {
    Running ours(space);
    Running theirs;
    print_heading("drop-in", "the kernel");
    for (int number = 0; std::cmp_less(number, names.size()); ++number) {
      compare(
          names[static_cast<std::size_t>(number)], [&] { return ours.measure(number); },
          [&] { return theirs.measure(number); });
    }
  }
  const OwnSpace again;
  Running running(again);
  const auto median_of = [&](int number) {
    running.measure(number);  // makes the sets
    std::vector<double> all(201);
    std::ranges::generate(all, [&] { return running.measure(number); });
    return quantile(all, 0.5);
  };
  const double few = median_of(by_key_of_few);
  const double many = median_of(by_key_of_many);
  fmt::print("semget of a key: {:.0f} ns among 10 sets, {:.0f} ns among 16,384\n", few, many);
}

}  // namespace parley::bench
