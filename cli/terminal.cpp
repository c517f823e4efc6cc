#include "terminal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <clocale>
#include <cstdlib>
#include <string>

namespace parley::cli {
namespace {

constexpr int narrowest = 20;
constexpr int widest = 1000;

auto variable(const char* name) -> std::string_view {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : value;
}

auto columns_of(int fd) -> int {
  int columns = 0;
  const auto text = variable("COLUMNS");
  std::from_chars(text.data(), text.data() + text.size(), columns);
  winsize size{};
  if (columns <= 0 && ioctl(fd, TIOCGWINSZ, &size) == 0) columns = size.ws_col;
  return columns <= 0 ? Terminal{}.columns : std::clamp(columns, narrowest, widest);
}

auto is_continuation(char letter) -> bool {
  return (static_cast<unsigned char>(letter) & 0xc0) == 0x80;
}

/// How many bytes the first character has; 0 if it is not UTF-8 or could command a terminal.
auto character_bytes(std::string_view text) -> std::size_t {
  const auto lead = static_cast<unsigned char>(text.front());
  if (lead < 0x80) return lead < 0x20 || lead == 0x7f ? 0 : 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const std::size_t count = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() < count || !std::ranges::all_of(text.substr(1, count - 1), is_continuation)) {
    return 0;
  }
  const bool is_control = lead == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0;
  return is_control ? 0 : count;
}

}  // namespace

auto terminal_at(int fd) -> Terminal {
  const bool is_dumb = variable("TERM").empty() || variable("TERM") == "dumb";
  const bool is_terminal = isatty(fd) == 1 && !is_dumb;
  std::setlocale(LC_CTYPE, "");
  return {.is_terminal = is_terminal,
          .has_colour = is_terminal && variable("NO_COLOR").empty(),
          .has_unicode = std::string_view(nl_langinfo(CODESET)) == "UTF-8",
          .columns = columns_of(fd)};
}

auto printable(std::string_view text) -> std::string {
  std::string result;
  while (!text.empty()) {
    const auto count = character_bytes(text);
    if (count == 0) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned char>(text.front()));
    } else {
      result += text.substr(0, count);
    }
    text.remove_prefix(std::max(count, std::size_t{1}));
  }
  return result;
}

auto write_all(os::BorrowedFd fd, std::string_view text) -> Result<void> {
  while (!text.empty()) {
    const ssize_t count = write(fd.number(), text.data(), text.size());
    if (count >= 0) {
      text.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      return failure(last_error());
    }
  }
  return {};
}

auto write_output(std::string_view text) -> Result<void> {
  return write_all(os::BorrowedFd::from_number(STDOUT_FILENO), text);
}

void complain(std::string_view line) {
  // One write, so that lines of several processes do not mix. If it fails there is nobody to tell.
  [[maybe_unused]] const auto told =
      write_all(os::BorrowedFd::from_number(STDERR_FILENO), "parley: " + std::string(line) + "\n");
}

void occupy_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    // The lowest free number is this one. Opened the wrong way round: using it is an error still.
    static_cast<void>(open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
}

}  // namespace parley::cli
