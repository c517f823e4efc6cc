// parley send: puts messages into a queue, from the command line, from lines or from files.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <parley/message_queue.hpp>

#include "command.hpp"
#include "guarded.hpp"
#include "objects.hpp"
#include "signals.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

struct Options : WaitOptions {
  std::vector<std::string> messages;
  std::vector<std::string> files;
  bool null = false;
  bool create = false;
  MessageOptions label;
};

class Sender {
 public:
  explicit Sender(const Options& options)
      : options_(options), who_(naming("send", options.path)), deadline_(options.deadline()) {}

  auto run() -> int {
    end_when_interrupted(who_);
    auto opened = options_.create ? MessageQueue::open_or_create(options_.path)
                                  : MessageQueue::open(options_.path);
    if (!opened) {
      complain(who_ + ": " + why_not(opened.error(), "a queue"));
      return static_cast<int>(Status::usage);
    }
    queue_ = *std::move(opened);
    queue_->set_wait_strategy(WaitStrategy::block);
    for (const auto& message : options_.messages) {
      if (const auto status = send(message, "")) return *status;
    }
    for (const auto& file : options_.files) {
      if (const auto status = send_file(file)) return *status;
    }
    const bool from_input = options_.messages.empty() && options_.files.empty();
    return from_input ? send_input() : static_cast<int>(Status::success);
  }

 private:
  /// The exit status where it was not sent; why has been told. `which` says more of the message.
  auto send(const std::string& message, const std::string& which) -> std::optional<int> {
    const auto sent = queue_->send(std::as_bytes(std::span(message)), options_.label, deadline_);
    if (sent) return std::nullopt;
    const auto before = fmt::format("{}{}: ", who_, which);
    if (sent.error() == deadline_.error()) {
      complain(before + "is full");
      return options_.not_obtained_status;
    }
    complain(before + (sent.error() == Error::message_too_long
                           ? fmt::format("{} bytes are more than a message of this queue has",
                                         message.size())
                           : why_not(sent.error(), "a queue")));
    return static_cast<int>(Status::failure);
  }

  auto send_file(const std::string& path) -> std::optional<int> {
    std::ifstream file(path, std::ios::binary);
    const std::string message(std::istreambuf_iterator<char>(file), {});
    if (file.is_open() && !file.bad()) return send(message, ": " + printable(path));
    complain(fmt::format("{}: {}: {}", who_, printable(path), message_of_errno()));
    return static_cast<int>(Status::usage);
  }

  static auto message_of_errno() -> std::string { return parley::message(last_error()); }

  auto send_input() -> int {
    const char end = options_.null ? '\0' : '\n';
    std::size_t number = 0;
    for (std::string line; std::getline(std::cin, line, end);) {
      ++number;
      if (const auto status = send(line, fmt::format(": message {}", number))) return *status;
    }
    if (!std::cin.bad()) return static_cast<int>(Status::success);
    complain(fmt::format("{}: standard input: {}", who_, message_of_errno()));
    return static_cast<int>(Status::failure);
  }

  const Options& options_;
  std::string who_;
  Deadline deadline_;
  std::optional<MessageQueue> queue_;
};

}  // namespace

void add_send(CLI::App& parley, const std::vector<std::string>& messages, int& exit_status) {
  CLI::App* send = parley.add_subcommand(
      "send", "Put messages into a queue: words, or files, or else the lines of standard input.");
  const auto options = std::make_shared<Options>();
  add_wait_options(*send, *options);
  auto* const words =
      send->add_option("MESSAGE", options->messages, "A message for each word; behind -- any words")
          ->transform(unmarked)
          ->type_name("");
  auto* const files = send->add_option("--file", options->files, "A message for each file")
                          ->allow_extra_args(false)
                          ->excludes(words)
                          ->type_name("FILE");
  send->add_flag("--null", options->null, "In standard input a zero ends each message, no newline")
      ->excludes(words)
      ->excludes(files);
  send->add_option("--tag", options->label.tag, "0 by default")->type_name("N");
  send->add_option("--priority", options->label.priority, "0 by default; up to 65535")
      ->type_name("N");
  send->add_flag("--create", options->create, "Make the queue where it is missing");
  send->callback([options, &messages, &exit_status] {
    options->messages.insert(options->messages.end(), messages.begin(), messages.end());
    exit_status = Sender(*options).run();
  });
}

}  // namespace parley::cli
