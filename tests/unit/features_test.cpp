#include <parley/os/features.hpp>

#include <doctest/doctest.h>

#include <sys/resource.h>
#include <sys/wait.h>
#include <cerrno>
#include <csignal>
#include <cstdlib>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <parley/mutex.hpp>

#include "os/sys.hpp"
#include "support/descriptors.hpp"
#include "support/temp_dir.hpp"

using namespace parley::os;
using parley::Error;
using parley::test::open_descriptors;
using parley::test::TempDir;

namespace {

auto named(const std::vector<Feature>& features, std::string_view name) -> const Feature& {
  const auto found = std::ranges::find(features, name, &Feature::name);
  REQUIRE(found != features.end());
  return *found;
}

/// What the system holds beyond this process: System V objects and names.
auto objects_of_the_system() -> std::vector<std::string> {
  std::vector<std::string> found;
  for (const auto* table : {"sem", "msg", "shm"}) {
    std::ifstream file("/proc/sysvipc/" + std::string(table));
    std::string line;
    while (std::getline(file, line)) found.push_back(table + line);
  }
  for (const auto* directory : {"/dev/shm", "/dev/mqueue", "/tmp"}) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
      const std::string name = entry.path().filename();
      if (name.find("parley-doctor") != std::string::npos) found.push_back(entry.path());
    }
  }
  return found;
}

/// A limit of this process, put back at the end.
class Limit {
 public:
  Limit(__rlimit_resource resource, rlim_t value) : resource_(resource) {
    REQUIRE(getrlimit(resource_, &before_) == 0);
    rlimit now = before_;
    now.rlim_cur = value;
    REQUIRE(setrlimit(resource_, &now) == 0);
  }
  Limit(const Limit&) = delete;
  auto operator=(const Limit&) -> Limit& = delete;
  ~Limit() { setrlimit(resource_, &before_); }

 private:
  __rlimit_resource resource_;
  rlimit before_{};
};

volatile std::sig_atomic_t handled_count = 0;

}  // namespace

TEST_CASE("every feature has a name of its own, a group, a use and a cost") {
  const auto features = probe_features();
  std::set<std::string_view> names;
  std::set<std::string_view> groups;
  std::string_view group;
  for (const auto& feature : features) {
    CAPTURE(feature.name);
    CHECK(names.insert(feature.name).second);
    if (feature.group != group) CHECK(groups.insert(feature.group).second);
    group = feature.group;
    CHECK_FALSE(feature.used_for.empty());
    CHECK_FALSE(feature.without.empty());
    CHECK((feature.presence != Presence::present || !feature.error));
  }
  CHECK(features.size() > 50);
}

TEST_CASE("probing leaves no descriptor, object, name or process and raises no signal") {
  struct sigaction counting{};
  struct sigaction before_action{};
  counting.sa_handler = [](int) { handled_count = handled_count + 1; };
  REQUIRE(sigaction(SIGCHLD, &counting, &before_action) == 0);
  const auto objects = objects_of_the_system();
  const auto descriptors = open_descriptors();
  const auto features = probe_features();
  CHECK(open_descriptors() == descriptors);
  CHECK(objects_of_the_system() == objects);
  CHECK(waitpid(-1, nullptr, __WALL | WNOHANG) == -1);
  CHECK(errno == ECHILD);
  CHECK(handled_count == 0);
  REQUIRE(sigaction(SIGCHLD, &before_action, nullptr) == 0);
}

TEST_CASE("a limit is told as it is, and as limited where it is low") {
  const Limit limit(RLIMIT_NOFILE, 100);
  const auto features = probe_features();
  const auto& feature = named(features, "rlimit_nofile");
  CHECK(feature.value == 100U);
  CHECK(feature.presence == Presence::limited);
  CHECK(feature.detail == "less than 1024");
}

TEST_CASE("what cannot be tried is unknown, and needed things that are unknown are not there") {
  const Limit limit(RLIMIT_NOFILE, 0);
  const auto features = probe_features();
  for (const auto& feature : features) {
    CHECK(feature.presence == Presence::unknown);
    CHECK(feature.error == Error{EMFILE});
  }
  CHECK_FALSE(has_all_needed(features));
}

TEST_CASE("the user's runtime directory is looked for where the environment says") {
  const auto state = [] {
    const auto features = probe_features();
    return named(features, "tmpfile_runtime_dir");
  };
  const char* before = std::getenv("XDG_RUNTIME_DIR");
  const std::string saved = before == nullptr ? "" : before;
  const TempDir dir;
  REQUIRE(setenv("XDG_RUNTIME_DIR", dir.path().c_str(), 1) == 0);
  CHECK(state().presence == Presence::present);
  CHECK(std::filesystem::is_empty(dir.path()));
  REQUIRE(setenv("XDG_RUNTIME_DIR", (dir / "nowhere").c_str(), 1) == 0);
  CHECK(state().presence == Presence::missing);
  CHECK(state().error == Error::not_found);
  REQUIRE(unsetenv("XDG_RUNTIME_DIR") == 0);
  CHECK(state().presence == Presence::missing);
  CHECK_FALSE(state().error);
  if (before != nullptr) REQUIRE(setenv("XDG_RUNTIME_DIR", saved.c_str(), 1) == 0);
}

TEST_CASE(
    "the directory of bare names is tried where the objects are, and must be the user's own") {
  const auto directory = [] {
    const auto features = probe_features();
    return named(features, "object_directory");
  };
  const char* before = std::getenv("XDG_RUNTIME_DIR");
  const std::string saved = before == nullptr ? "" : before;
  const TempDir dir;
  REQUIRE(setenv("XDG_RUNTIME_DIR", dir.path().c_str(), 1) == 0);
  CHECK(directory().presence == Presence::present);
  CHECK(directory().detail == dir / "parley");
  CHECK(std::filesystem::is_empty(dir.path()));
  REQUIRE(parley::Mutex::create("lock"));
  CHECK(directory().presence == Presence::present);
  std::filesystem::permissions(dir / "parley", std::filesystem::perms::group_read,
                               std::filesystem::perm_options::add);
  CHECK(parley::Mutex::open("lock").error() == Error::access_denied);
  CHECK(directory().presence == Presence::missing);
  std::filesystem::remove_all(dir / "parley");
  std::filesystem::create_symlink("/tmp", dir / "parley");
  CHECK(directory().presence == Presence::missing);
  REQUIRE(setenv("XDG_RUNTIME_DIR", (dir / "nowhere").c_str(), 1) == 0);
  CHECK(directory().error == Error::not_found);
  REQUIRE(unsetenv("XDG_RUNTIME_DIR") == 0);
  CHECK(directory().detail.starts_with("/dev/shm/parley-"));
  if (before != nullptr) REQUIRE(setenv("XDG_RUNTIME_DIR", saved.c_str(), 1) == 0);
}

TEST_CASE("all that is needed is there where nothing needed is missing or unknown") {
  std::vector<Feature> features{{.group = "g", .name = "a", .is_needed = true},
                                {.group = "g", .name = "b", .is_needed = false}};
  features[0].presence = Presence::present;
  features[1].presence = Presence::missing;
  CHECK(has_all_needed(features));
  features[0].presence = Presence::limited;
  CHECK(has_all_needed(features));
  features[0].presence = Presence::missing;
  CHECK_FALSE(has_all_needed(features));
  features[0].presence = Presence::unknown;
  CHECK_FALSE(has_all_needed(features));
}
