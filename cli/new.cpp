// parley new: makes an object with a name.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <charconv>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <parley/message_queue.hpp>
#include <parley/mutex.hpp>
#include <parley/semaphore_set.hpp>
#include <parley/shared_memory.hpp>
#include <parley/stream.hpp>

#include "command.hpp"
#include "inspected.hpp"
#include "objects.hpp"
#include "terminal.hpp"

namespace parley::cli {
namespace {

/// What every kind can be told.
struct Options {
  std::string path;
  std::string mode = "600";
  bool json = false;
  std::uint32_t participants = 64;

  [[nodiscard]] auto mode_bits() const -> mode_t {
    unsigned bits = 0;
    std::from_chars(mode.data(), mode.data() + mode.size(), bits, 8);
    return bits;
  }
};

auto check_mode(const std::string& text) -> std::string {
  unsigned bits = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits, 8);
  const bool sound = error == std::errc() && end == text.data() + text.size() && bits <= 0777;
  return sound ? std::string() : fmt::format("{} is no mode like 660", printable(text));
}

auto why_not_made(Error error) -> std::string {
  switch (error) {
    case Error::exists:
      return "is there already";
    case Error::invalid:
      return "cannot be made so: a name or a number is out of its bounds";
    case Error::not_supported:
      return "the filesystem there knows no files without a name (O_TMPFILE)";
    default:
      return message(error);
  }
}

/// Tells what has become of it.
auto finish(const Options& options, const Result<void>& made) -> Status {
  const auto who = naming("new", options.path);
  if (!made) {
    complain(who + ": " + why_not_made(made.error()));
    return Status::usage;
  }
  if (!options.json) return Status::success;
  const auto inspection = inspect(options.path);
  const auto told = inspection
                        ? write_output(written(as_json({options.path, *inspection}, std::nullopt)))
                        : failure(inspection.error());
  if (told) return Status::success;
  complain(who + ": is made, but cannot be shown: " + message(told.error()));
  return Status::failure;
}

/// Makes an object, of which only the name is kept.
template <class Object>
auto without_handle(const Result<Object>& object) -> Result<void> {
  return object ? Result<void>() : failure(object.error());
}

/// A subcommand of `new`, with the options that all of them have.
auto add_kind(CLI::App& parent, Options& options, const std::string& name,
              const std::string& description) -> CLI::App* {
  CLI::App* kind = parent.add_subcommand(name, description);
  kind->add_option("PATH", options.path, "A path, or a name in the default place")
      ->required()
      ->type_name("");
  kind->add_option("--mode", options.mode, "The permissions of its file; 600 by default")
      ->check(check_mode)
      ->type_name("MODE");
  kind->add_flag("--json", options.json, "Write what was made as JSON, as parley show does");
  return kind;
}

void add_participants(CLI::App& kind, Options& options) {
  kind.add_option("--participants", options.participants, "At most at one time; 64 by default")
      ->type_name("N");
}

void add_mutex(CLI::App& parent, int& exit_status) {
  const auto options = std::make_shared<Options>();
  auto* const kind = add_kind(parent, *options, "mutex", "A lock.");
  add_participants(*kind, *options);
  kind->callback([options, &exit_status] {
    const auto made = Mutex::create(
        options->path, {.mode = options->mode_bits(), .participants = options->participants});
    exit_status = static_cast<int>(finish(*options, without_handle(made)));
  });
}

void add_semaphores(CLI::App& parent, int& exit_status) {
  struct More : Options {
    std::vector<std::uint16_t> values;
    bool no_undo = false;
    std::uint32_t operations = 32;
    std::uint32_t waiters = 128;
  };
  const auto options = std::make_shared<More>();
  auto* const kind = add_kind(parent, *options, "semaphores", "A set of counters.");
  kind->add_option("VALUE", options->values, "One for each semaphore, from 0 to 32767")
      ->required()
      ->type_name("");
  kind->add_flag("--no-undo", options->no_undo,
                 "What a process took stays taken when it dies; a set of one is faster then");
  kind->add_option("--operations", options->operations, "In one call at most; 32 by default")
      ->type_name("N");
  kind->add_option("--waiters", options->waiters, "Calls that wait at most; 128 by default")
      ->type_name("N");
  add_participants(*kind, *options);
  kind->callback([options, &exit_status] {
    const auto made = SemaphoreSet::create(options->path, options->values,
                                           {.mode = options->mode_bits(),
                                            .participants = options->participants,
                                            .operations = options->operations,
                                            .waiters = options->waiters,
                                            .undo = !options->no_undo});
    exit_status = static_cast<int>(finish(*options, without_handle(made)));
  });
}

void add_memory(CLI::App& parent, int& exit_status) {
  struct More : Options {
    std::uint64_t size_bytes = 0;
    bool growable = false;
  };
  const auto options = std::make_shared<More>();
  auto* const kind = add_kind(parent, *options, "memory", "Bytes that several processes see.");
  kind->add_option("SIZE", options->size_bytes, "In bytes, or with k, M or G behind (of 1024)")
      ->required()
      ->transform(CLI::AsSizeValue(false))
      ->type_name("");
  kind->add_flag("--growable", options->growable, "It may be made larger");
  kind->callback([options, &exit_status] {
    const auto made = SharedMemory::create(options->path, {.size_bytes = options->size_bytes,
                                                           .mode = options->mode_bits(),
                                                           .growable = options->growable});
    exit_status = static_cast<int>(finish(*options, without_handle(made)));
  });
}

void add_stream(CLI::App& parent, int& exit_status) {
  struct More : Options {
    StreamOptions stream;
  };
  const auto options = std::make_shared<More>();
  options->participants = options->stream.participants;
  auto* const kind = add_kind(parent, *options, "stream", "Bytes from a writer to a reader.");
  kind->add_option("--capacity", options->stream.capacity_bytes,
                   "Written and not yet read at most; 1M by default")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE");
  kind->add_option("--participants", options->participants, "At most at one time; 8 by default")
      ->type_name("N");
  kind->callback([options, &exit_status] {
    options->stream.mode = options->mode_bits();
    options->stream.participants = options->participants;
    const auto made = Stream::create(options->path, options->stream);
    exit_status = static_cast<int>(finish(*options, without_handle(made)));
  });
}

void add_queue(CLI::App& parent, int& exit_status) {
  struct More : Options {
    MessageQueueOptions queue;
  };
  const auto options = std::make_shared<More>();
  auto* const kind = add_kind(parent, *options, "queue", "Messages with tags and priorities.");
  auto& queue = options->queue;
  kind->add_option("--messages", queue.messages, "At most; 65536 by default")->type_name("N");
  kind->add_option("--bytes", queue.bytes, "Of all messages at most; 64M by default")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE");
  kind->add_option("--message-bytes", queue.message_bytes, "Of the longest; 1M by default")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE");
  kind->add_option("--waiters", queue.waiters, "Calls that wait at most; 128 by default")
      ->type_name("N");
  auto* const letters =
      kind->add_option("--dead-letters", queue.dead_letter_tag,
                       "The tag of messages that came back too often from receivers that died")
          ->type_name("TAG");
  kind->add_option("--redeliveries", queue.redeliveries, "How often is not too often; 0 by default")
      ->needs(letters)
      ->type_name("N");
  add_participants(*kind, *options);
  kind->callback([options, &exit_status] {
    options->queue.mode = options->mode_bits();
    options->queue.participants = options->participants;
    const auto made = MessageQueue::create(options->path, options->queue);
    exit_status = static_cast<int>(finish(*options, without_handle(made)));
  });
}

}  // namespace

void add_new(CLI::App& parley, int& exit_status) {
  CLI::App* made = parley.add_subcommand("new", "Make an object with a name.");
  made->require_subcommand(1);
  add_mutex(*made, exit_status);
  add_semaphores(*made, exit_status);
  add_memory(*made, exit_status);
  add_stream(*made, exit_status);
  add_queue(*made, exit_status);
}

}  // namespace parley::cli
