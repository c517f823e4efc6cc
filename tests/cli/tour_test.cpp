#include <doctest/doctest.h>
#include <seccomp.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "support/temp_dir.hpp"

using nlohmann::json;
using parley::test::Command;
using parley::test::make_file;
using parley::test::run;
using parley::test::TempDir;
using parley::test::tour_names;

namespace {

/// What a verified mechanism must tell.
void check_verified(const json& mechanism, const json& file) {
  CAPTURE(mechanism.dump());
  CHECK(mechanism.at("verdict") == "verified");
  CHECK(mechanism.at("copy").at("size_bytes") == file.at("size_bytes"));
  CHECK(mechanism.at("copy").at("xxh3_128") == file.at("xxh3_128"));
  CHECK(mechanism.at("message_bytes") >= 64);
  CHECK(mechanism.at("transfer_ns") > 0);
  CHECK(mechanism.at("bytes_per_second") > 0);
  const auto& trip = mechanism.at("round_trip");
  CHECK(trip.at("message_bytes") == 64);
  CHECK(trip.at("samples") > 0);
  CHECK(trip.at("median_ns") > 0);
  CHECK(trip.at("p99_ns") >= trip.at("median_ns"));
}

/// As the checksum's own library computes it in one go.
auto checksum_of(const std::string& path) -> std::string {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const auto hash = XXH3_128bits(bytes.data(), bytes.size());
  std::array<char, 33> digits{};
  static_cast<void>(std::snprintf(digits.data(), digits.size(), "%016llx%016llx",
                                  static_cast<unsigned long long>(hash.high64),
                                  static_cast<unsigned long long>(hash.low64)));
  return digits.data();
}

/// By name. Every mechanism is there once.
auto verdicts(const json& results) -> std::map<std::string, std::string> {
  std::map<std::string, std::string> result;
  for (const auto& mechanism : results.at("mechanisms")) {
    CHECK(result.emplace(mechanism.at("name"), mechanism.at("verdict")).second);
  }
  return result;
}

/// System calls of a kind are not there, as in a container that forbids them.
void forbid(const std::vector<int>& calls) {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  for (const int call : calls) {
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0) != 0) _exit(126);
  }
  if (seccomp_load(filter) != 0) _exit(126);
  seccomp_release(filter);
}

}  // namespace

TEST_CASE(
    "a real file comes through every mechanism unchanged, and JSON tells all that was found") {
  const TempDir directory;
  const std::string path = directory / "file";
  make_file(path, 3'000'001);
  const auto outcome = run({"tour", "--json", path});
  CAPTURE(outcome.errors);
  const auto results = json::parse(outcome.output);
  CHECK(results.at("file").at("path") == path);
  CHECK(results.at("file").at("size_bytes") == 3'000'001);
  CHECK(results.at("file").at("xxh3_128") == checksum_of(path));
  CHECK(results.at("parley").is_string());
  CHECK(results.at("time").is_string());
  CHECK(results.at("system").at("kernel").is_string());
  CHECK(results.at("system").at("processors") > 0);
  CHECK(verdicts(results).size() == tour_names().size());
  CHECK(results.at("mechanisms").size() == 18);
  for (const auto& mechanism : results.at("mechanisms")) {
    if (mechanism.at("verdict") == "refused") {
      MESSAGE("this machine refuses ", mechanism.at("name"), ": ", mechanism.at("reason"));
      CHECK(outcome.status == 3);
      continue;
    }
    check_verified(mechanism, results.at("file"));
  }
}

TEST_CASE("a file of one byte is toured") {
  const TempDir directory;
  make_file(directory / "file", 1);
  const auto outcome =
      run({"tour", "--only", "pipe,tcp,posix-queue", directory / "file", "--json"});
  CHECK(outcome.status == 0);
  const auto results = json::parse(outcome.output);
  CHECK(results.at("mechanisms").size() == 3);
  for (const auto& mechanism : results.at("mechanisms"))
    check_verified(mechanism, results.at("file"));
}

TEST_CASE("without a file the command's own binary is toured") {
  const auto outcome = run({"tour", "--only", "descriptor", "--json"});
  CHECK(outcome.status == 0);
  const auto file = json::parse(outcome.output).at("file");
  CHECK(std::filesystem::equivalent(std::string(file.at("path")), PARLEY_COMMAND));
  CHECK(file.at("size_bytes") == std::filesystem::file_size(PARLEY_COMMAND));
}

TEST_CASE("the tour reads the file and leaves its descriptors' positions and times alone") {
  const TempDir directory;
  make_file(directory / "file", 100'000);
  const auto before = std::filesystem::last_write_time(directory / "file");
  CHECK(run({"tour", "--only", "descriptor,pipe", directory / "file"}).status == 0);
  CHECK(std::filesystem::last_write_time(directory / "file") == before);
  CHECK(std::filesystem::file_size(directory / "file") == 100'000);
}

TEST_CASE("a mechanism that a limit refuses is named with the reason, and the tour goes on") {
  const TempDir directory;
  make_file(directory / "file", 100'000);
  const auto outcome =
      run({"tour", "--json", "--only", "fifo,posix-queue,memfd-posix-sem", directory / "file"}, [] {
        const rlimit none{.rlim_cur = 0, .rlim_max = 0};
        if (setrlimit(RLIMIT_MSGQUEUE, &none) != 0) _exit(126);
      });
  CHECK(outcome.status == 3);
  CHECK(outcome.has_one_line_of_errors());
  CHECK(outcome.errors.find("POSIX queue: refused: making it: Too many open files") !=
        std::string::npos);
  const auto results = json::parse(outcome.output);
  const auto found = verdicts(results);
  CHECK(found.at("fifo") == "verified");
  CHECK(found.at("posix-queue") == "refused");
  CHECK(found.at("memfd-posix-sem") == "verified");
  CHECK(results.at("mechanisms").at(1).at("reason") == "making it: Too many open files");
}

TEST_CASE("mechanisms that a container's filter refuses are named, and all others are verified") {
  const TempDir directory;
  make_file(directory / "file", 100'000);
  const auto outcome = run({"tour", "--json", directory / "file"}, [] {
    forbid({SCMP_SYS(msgget), SCMP_SYS(semget), SCMP_SYS(shmget), SCMP_SYS(socket),
            SCMP_SYS(socketpair), SCMP_SYS(memfd_create)});
  });
  CAPTURE(outcome.errors);
  CHECK(outcome.status == 3);
  const std::set<std::string> verified{"pipe", "fifo", "posix-queue", "posix-shm-posix-sem"};
  for (const auto& [name, verdict] : verdicts(json::parse(outcome.output))) {
    CAPTURE(name);
    CHECK(verdict == (verified.contains(name) ? "verified" : "refused"));
  }
}

TEST_CASE("a machine without a place for temporary files refuses what needs one") {
  const TempDir directory;
  make_file(directory / "file", 1000);
  const auto outcome = run({"tour", "--only", "fifo,local-datagram,pipe", directory / "file"},
                           [] { setenv("TMPDIR", "/nonexistent", 1); });
  CHECK(outcome.status == 3);
  CHECK(outcome.output.find("1 of 3 mechanisms verified, 2 refused.") != std::string::npos);
}

TEST_CASE("a file that changes meanwhile is said to have changed, and no mechanism is blamed") {
  const TempDir directory;
  const std::string path = directory / "file";
  const auto change_during_tour = [&](const std::string& only, auto change) {
    make_file(path, 20'000'000);
    Command tour({"tour", "--only", only, path});
    REQUIRE(tour.wait_for_two_children());
    change();
    const auto outcome = tour.finish();
    CAPTURE(outcome.errors);
    CHECK(outcome.status == 1);
    CHECK(outcome.has_one_line_of_errors());
    CHECK(outcome.errors.find(path + ": changed while it was toured") != std::string::npos);
  };
  for (const std::string only : {"sysv-queue", "descriptor"}) {
    change_during_tour(only, [&] { std::filesystem::resize_file(path, 1000); });
    change_during_tour(only, [&] { std::ofstream(path, std::ios::app) << "more"; });
    change_during_tour(only, [&] {
      std::fstream(path, std::ios::in | std::ios::out).seekp(19'999'999).put('\n').put('\n');
    });
  }
}
