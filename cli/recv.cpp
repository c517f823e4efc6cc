// parley recv: takes messages out of a queue, writes them or runs a command for each.
#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <parley/message_queue.hpp>
#include <parley/os/memfd.hpp>

#include "command.hpp"
#include "guarded.hpp"
#include "objects.hpp"
#include "signals.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

struct Options : WaitOptions {
  std::optional<std::uint64_t> tag;
  std::optional<std::uint64_t> up_to;
  std::optional<std::uint64_t> except;
  bool highest = false;
  std::optional<std::uint64_t> count;
  bool follow = false;
  bool raw = false;
  bool null = false;
  bool json = false;
  std::optional<std::string> exec;

  [[nodiscard]] auto selection() const -> Selection {
    if (tag) return Selection::tag(*tag);
    if (up_to) return Selection::up_to(*up_to);
    if (except) return Selection::except(*except);
    return highest ? Selection::highest() : Selection::oldest();
  }
};

auto text_of(const TakenMessage& message) -> std::string_view {
  const auto bytes = message.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// One line. What is not UTF-8 is written as hexadecimal digits.
auto json_of(const TakenMessage& message) -> std::string {
  using nlohmann::ordered_json;
  const auto& about = message.about();
  ordered_json json{{"tag", about.tag},           {"priority", about.priority},
                    {"sequence", about.sequence}, {"redeliveries", about.redeliveries},
                    {"dead_letter_of", nullptr},  {"size_bytes", about.size_bytes}};
  if (about.dead_letter_of) json["dead_letter_of"] = *about.dead_letter_of;
  // A copy: what is not checked in it cannot change any more.
  const std::string body(text_of(message));
  json["body"] = body;
  try {
    return json.dump() + "\n";
  } catch (const ordered_json::type_error&) {
    std::string digits;
    for (const char letter : body) {
      digits += fmt::format("{:02x}", static_cast<unsigned char>(letter));
    }
    json["body"] = nullptr;
    json["body_hex"] = digits;
    return json.dump() + "\n";
  }
}

class Receiver {
 public:
  explicit Receiver(const Options& options)
      : options_(options), who_(naming("recv", options.path)) {}

  auto run() -> int {
    if (options_.exec) return run_holder(who_, [&](Holder& holder) { return exec(holder); });
    end_when_interrupted(who_);
    return loop([](auto take) { return take(); },
                [&](TakenMessage& message) { return write(message); });
  }

 private:
  /// `waiting` calls what waits; `handle` ends with a status where it failed.
  template <class Waiting, class Handle>
  auto loop(Waiting waiting, Handle handle) -> int {
    if (const auto status = open()) return *status;
    const auto count = options_.count.value_or(1);
    const auto deadline = options_.deadline();
    for (std::uint64_t done = 0; options_.follow || done < count; ++done) {
      auto message = waiting([&] { return queue_->take(options_.selection(), deadline); });
      if (!message) return not_had(message.error(), deadline);
      if (const auto status = handle(*message)) return *status;
      if (const auto acknowledged = message->acknowledge(); !acknowledged) {
        return complain_of(why_not(acknowledged.error(), "a queue"), Status::failure);
      }
    }
    return static_cast<int>(Status::success);
  }

  auto open() -> std::optional<int> {
    auto opened = MessageQueue::open(options_.path);
    if (!opened) return complain_of(why_not(opened.error(), "a queue"), Status::usage);
    queue_ = *std::move(opened);
    queue_->set_wait_strategy(WaitStrategy::block);
    return std::nullopt;
  }

  auto complain_of(const std::string& why, Status status) -> int {
    complain(who_ + ": " + why);
    return static_cast<int>(status);
  }

  auto not_had(Error error, Deadline deadline) -> int {
    if (error != deadline.error()) return complain_of(why_not(error, "a queue"), Status::failure);
    complain(who_ + ": has no such message");
    return options_.not_obtained_status;
  }

  auto write(const TakenMessage& message) -> std::optional<int> {
    std::string text;
    if (options_.json) {
      text = json_of(message);
    } else {
      text = text_of(message);
      if (!options_.raw) text += options_.null ? '\0' : '\n';
    }
    const auto told = write_output(text);
    if (told) return std::nullopt;
    return complain_of("standard output: " + message_of(told.error()), Status::failure);
  }
  static auto message_of(Error error) -> std::string { return parley::message(error); }

  auto exec(Holder& holder) -> int {
    return loop([&](auto take) { return holder.wait(take); },
                [&](TakenMessage& message) { return run_for(message, holder); });
  }

  /// Runs the command with the message as its standard input.
  auto run_for(const TakenMessage& message, Holder& holder) -> std::optional<int> {
    auto input = input_of(message);
    if (!input) return complain_of("memory: " + message_of(input.error()), Status::failure);
    auto end = holder.run({.program = "/bin/sh",
                           .arguments = {"-c", *options_.exec},
                           .environment = environment_of(message),
                           .descriptors = {{.fd = *input, .number = STDIN_FILENO}}});
    if (!end) return end.error();
    if (end->succeeded()) return std::nullopt;
    complain(fmt::format("{}: the command ended with status {}; message {} goes back", who_,
                         status_of(*end), message.about().sequence));
    // Not by a call: as if this process had died with it, so that it counts as redelivered.
    _exit(status_of(*end) == 0 ? 1 : status_of(*end));
  }

  static auto input_of(const TakenMessage& message) -> Result<os::OwnedFd> {
    auto memory = PARLEY_TRY(os::Memfd::create("message")).into_fd();
    PARLEY_TRY(write_all(memory, text_of(message)));
    if (lseek(memory.number(), 0, SEEK_SET) != 0) return failure(last_error());
    return memory;
  }

  static auto environment_of(const TakenMessage& message) -> std::vector<std::string> {
    std::vector<std::string> entries;
    for (char** entry = environ; *entry != nullptr; ++entry) entries.emplace_back(*entry);
    const auto& about = message.about();
    std::erase_if(entries, [](const auto& entry) { return entry.starts_with("PARLEY_MESSAGE_"); });
    entries.push_back(fmt::format("PARLEY_MESSAGE_TAG={}", about.tag));
    entries.push_back(fmt::format("PARLEY_MESSAGE_PRIORITY={}", about.priority));
    entries.push_back(fmt::format("PARLEY_MESSAGE_SEQUENCE={}", about.sequence));
    entries.push_back(fmt::format("PARLEY_MESSAGE_REDELIVERIES={}", about.redeliveries));
    return entries;
  }

  const Options& options_;
  std::string who_;
  std::optional<MessageQueue> queue_;
};

}  // namespace

void add_recv(CLI::App& parley, int& exit_status) {
  CLI::App* recv = parley.add_subcommand("recv", "Take messages out of a queue.");
  const auto options = std::make_shared<Options>();
  add_wait_options(*recv, *options);
  auto* const which = recv->add_option_group("Which");
  which->require_option(0, 1);
  which->add_option("--tag", options->tag, "Only of that tag")->type_name("N");
  which->add_option("--up-to", options->up_to, "Of the lowest tag that is there, up to N")
      ->type_name("N");
  which->add_option("--except", options->except, "Of any other tag")->type_name("N");
  which->add_flag("--highest", options->highest, "Of the highest priority that is there");
  auto* const count =
      recv->add_option("--count", options->count, "So many messages; 1 by default")->type_name("N");
  recv->add_flag("--follow", options->follow, "Go on until interrupted")->excludes(count);
  auto* const how = recv->add_option_group("How");
  how->require_option(0, 1);
  how->add_flag("--raw", options->raw, "Write nothing behind a message, instead of a newline");
  how->add_flag("--null", options->null, "Write a zero behind each message");
  how->add_flag("--json", options->json, "Write a line of JSON for each message");
  how->add_option("--exec", options->exec,
                  "Run this for each, by sh -c, with the message as its standard input; it is "
                  "acknowledged when that succeeded")
      ->type_name("CMD");
  recv->callback([options, &exit_status] { exit_status = Receiver(*options).run(); });
}

}  // namespace parley::cli
