#include <doctest/doctest.h>
#include <fcntl.h>
#include <pty.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "cli/command.hpp"
#include "support/temp_dir.hpp"

using parley::test::Command;
using parley::test::make_file;
using parley::test::run;
using parley::test::TempDir;

namespace {

auto contents_of(const std::string& path) -> std::string {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The elements that are open at the end; none in a well-formed page. Stops at the first end tag
/// that does not match.
auto unclosed_elements(const std::string& page) -> std::vector<std::string> {
  std::vector<std::string> open;
  std::size_t at = page.find('<', page.find("<html"));
  for (; at != std::string::npos; at = page.find('<', at + 1)) {
    const bool is_end = page.at(at + 1) == '/';
    const auto start = at + (is_end ? 2 : 1);
    const auto name = page.substr(start, page.find_first_of(" >", start) - start);
    if (name == "meta") continue;
    if (!is_end) {
      open.push_back(name);
    } else if (!open.empty() && open.back() == name) {
      open.pop_back();
    } else {
      break;
    }
  }
  return open;
}

auto longest_line(const std::string& text) -> std::size_t {
  std::size_t longest = 0;
  std::size_t start = 0;
  for (std::size_t end = 0; (end = text.find('\n', start)) != std::string::npos; start = end + 1) {
    longest = std::max(longest, end - start);
  }
  return longest;
}

/// All that the command writes on a terminal of so many columns.
auto run_on_terminal(const std::vector<std::string>& arguments, unsigned short columns,
                     const std::vector<std::pair<const char*, const char*>>& variables)
    -> std::string {
  int ours = -1;
  int theirs = -1;
  const winsize size{.ws_row = 24, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
  REQUIRE(openpty(&ours, &theirs, nullptr, nullptr, &size) == 0);
  Command command(arguments, [&] {
    for (const auto& [name, value] : variables) setenv(name, value, 1);
    unsetenv("COLUMNS");
    dup2(theirs, STDOUT_FILENO);
    dup2(theirs, STDERR_FILENO);
    close(ours);
    close(theirs);
  });
  close(theirs);
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t count = 0; (count = read(ours, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  close(ours);
  CHECK(command.finish().status == 0);
  return text;
}

}  // namespace

TEST_CASE("the table names every mechanism toured, in plain text where there is no terminal") {
  const TempDir directory;
  make_file(directory / "file", 100'000);
  const auto outcome =
      run({"tour", "--only", "pipe", "--only", "memfd-sysv-sem,tcp", directory / "file"});
  CHECK(outcome.status == 0);
  CHECK(outcome.errors.empty());
  for (const std::string part :
       {"100,000 bytes", "XXH3-128 ", "pipe  ", "TCP on loopback  ", "memfd, System V sem  ",
        "same", "/s", "median", "p99", "3 of 3 mechanisms verified."}) {
    CAPTURE(part);
    CHECK(outcome.output.find(part) != std::string::npos);
  }
  CHECK(outcome.output.find('\x1b') == std::string::npos);
}

TEST_CASE(
    "on a terminal there is progress, which is gone in the end, and colour unless forbidden") {
  const TempDir directory;
  make_file(directory / "file", 100'000);
  const std::vector<std::string> tour{"tour", "--only", "pipe", directory / "file"};
  const std::string erase = "\r\x1b[K";
  const auto coloured = run_on_terminal(tour, 80, {{"TERM", "xterm"}, {"NO_COLOR", ""}});
  CHECK(coloured.find(erase + " 1/2  reading the file") != std::string::npos);
  CHECK(coloured.find(erase + " 2/2  pipe") != std::string::npos);
  CHECK(coloured.find(erase + "\x1b[1m") != std::string::npos);
  CHECK(coloured.find("\x1b[32msame\x1b[0m") != std::string::npos);
  const auto plain = run_on_terminal(tour, 80, {{"TERM", "xterm"}, {"NO_COLOR", "1"}});
  CHECK(plain.find(" 2/2  pipe") != std::string::npos);
  CHECK(plain.find("\x1b[3") == std::string::npos);
  const auto narrow = run_on_terminal(tour, 30, {{"TERM", "xterm"}});
  CHECK(narrow.find(erase + " 1/2   0%  reading the file" + erase) != std::string::npos);
  const auto narrowest = run_on_terminal(tour, 20, {{"TERM", "xterm"}});
  CHECK(narrowest.find(erase + " 1/2   0%  reading " + erase) != std::string::npos);
  const auto dumb = run_on_terminal(tour, 80, {{"TERM", "dumb"}});
  CHECK(dumb.find('\x1b') == std::string::npos);
}

TEST_CASE("the table keeps to the width of the terminal") {
  const TempDir directory;
  make_file(directory / "file", 100'000);
  for (const std::string columns : {"50", "70", "80", "100", "200"}) {
    const auto outcome = run({"tour", "--only", "pipe,sysv-shm-sysv-sem", directory / "file"}, [&] {
      setenv("COLUMNS", columns.c_str(), 1);
      setenv("LC_ALL", "C", 1);
    });
    auto rows = outcome.output.substr(outcome.output.find("mechanism"));
    rows = rows.substr(0, rows.find("\n\n") + 1);
    CAPTURE(rows);
    CHECK(longest_line(rows) <= std::stoul(columns));
    CHECK((rows.find('#') != std::string::npos) == (std::stoul(columns) >= 80));
  }
}

TEST_CASE("the page is well formed, escapes what it shows, and needs nothing else") {
  const TempDir directory;
  const std::string file = directory / "a <b> & \"c\"";
  make_file(file, 100'000);
  const std::string page_path = directory / "page.html";
  CHECK(run({"tour", "--only", "pipe,tcp,memfd-posix-sem", "--html", page_path, file}).status == 0);
  const auto page = contents_of(page_path);
  CHECK(page.starts_with("<!DOCTYPE html>"));
  CHECK(page.ends_with("</html>\n"));
  CHECK(unclosed_elements(page) == std::vector<std::string>());
  CHECK(page.find("a &lt;b&gt; &amp; &quot;c&quot;</h1>") != std::string::npos);
  CHECK(page.find("prefers-color-scheme: dark") != std::string::npos);
  CHECK(page.find("TCP on loopback") != std::string::npos);
  for (const std::string outside :
       {"http:", "https:", "//", "src=", "href=", "url(", "<script", "@import", "<link", "<img"}) {
    CAPTURE(outside);
    CHECK(page.find(outside) == std::string::npos);
  }
}

TEST_CASE("a page that cannot be written is found out before the tour, and status 2 tells") {
  const TempDir directory;
  const std::string file = directory / "file";
  make_file(file, 1000);
  const auto check = [&](const std::string& page, const std::string& why) {
    const auto outcome = run({"tour", "--html", page, file});
    CHECK(outcome.status == 2);
    CHECK(outcome.output.empty());
    CHECK(outcome.errors == "parley: tour: " + page + ": " + why + "\n");
  };
  check(directory / "missing/page.html", "No such file or directory");
  check(directory.path(), "Is a directory");
  check(file, "is the file that is toured");
  CHECK(std::filesystem::file_size(file) == 1000);
  CHECK(run({"tour", "--html", "", file}).errors ==
        "parley: tour: '': No such file or directory\n");
}

TEST_CASE("a page for which there is no room is one line, status 1, and no half of it stays") {
  const TempDir directory;
  make_file(directory / "file", 1000);
  const auto full = run({"tour", "--only", "pipe", "--html", "/dev/full", directory / "file"});
  CHECK(full.status == 1);
  CHECK(full.errors == "parley: tour: /dev/full: No space left on device\n");
  const auto limited =
      run({"tour", "--only", "pipe", "--html", directory / "page", directory / "file"}, [] {
        const rlimit little{.rlim_cur = 2000, .rlim_max = 2000};
        if (setrlimit(RLIMIT_FSIZE, &little) != 0) _exit(126);
      });
  CHECK(limited.status == 1);
  CHECK(limited.errors == "parley: tour: " + (directory / "page") + ": File too large\n");
  CHECK_FALSE(std::filesystem::exists(directory / "page"));
}

TEST_CASE("an interrupted tour leaves an earlier page as it was") {
  const TempDir directory;
  make_file(directory / "file", 8'000'000);
  make_file(directory / "page", 77);
  Command tour({"tour", "--html", directory / "page", directory / "file"});
  REQUIRE(tour.wait_for_two_children());
  tour.signal_all(SIGINT);
  CHECK(tour.finish().status == 128 + SIGINT);
  CHECK(std::filesystem::file_size(directory / "page") == 77);
}
