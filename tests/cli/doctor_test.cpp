#include <doctest/doctest.h>

#include <sys/wait.h>
#include <cerrno>

#include <array>
#include <cstdio>
#include <map>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

using nlohmann::json;

namespace {

struct Ended {
  int status = -1;
  std::string output;
};

auto run(const std::string& command) -> Ended {
  Ended ended;
  std::FILE* const pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 4096> buffer{};
  while (const auto count = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
    ended.output.append(buffer.data(), count);
  }
  const int status = pclose(pipe);
  ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return ended;
}

/// The command's `doctor` under a filter that the words describe.
auto filtered_doctor(const std::string& filter, const std::string& options) -> Ended {
  // The leak checker makes a process of its own, which the filter may forbid.
  return run("env ASAN_OPTIONS=detect_leaks=0 " PARLEY_FILTERED_PROGRAM " " + filter +
             " -- " PARLEY_COMMAND " doctor " + options);
}

/// doctor's findings by name.
struct Findings {
  int status = -1;
  bool has_all_needed = false;
  std::map<std::string, json> features;
};

auto findings(const std::string& filter) -> Findings {
  const auto ended = filtered_doctor(filter, "--json");
  CAPTURE(ended.output);
  const json all = json::parse(ended.output);
  Findings result{.status = ended.status,
                  .has_all_needed = all.at("has_all_needed").get<bool>(),
                  .features = {}};
  for (const auto& feature : all.at("features")) result.features[feature.at("name")] = feature;
  return result;
}

/// The names of what the filter changed; what varies by itself is left out.
auto differences(const Findings& before, const Findings& after) -> std::set<std::string> {
  std::set<std::string> names;
  REQUIRE(before.features.size() == after.features.size());
  for (const auto& [name, feature] : before.features) {
    if (name == "dev_shm_free") continue;
    if (after.features.at(name) != feature) names.insert(name);
  }
  return names;
}

auto error_number(const json& feature) -> int {
  return feature.at("error").is_null() ? 0 : feature.at("error").at("number").get<int>();
}

/// Which features fail when a call is hidden.
auto hidden_with() -> const std::map<std::string, std::set<std::string>>& {
  static const std::map<std::string, std::set<std::string>> table{
      {"futex_waitv", {"futex_waitv"}},
      {"landlock_create_ruleset", {"landlock_abi"}},
      {"set_robust_list", {"robust_list"}},
      {"pidfd_open", {"pidfd_open", "pidfd_send_signal", "pidfd_getfd"}},
      {"memfd_create",
       {"memfd_create", "seal_shrink", "seal_grow", "seal_write", "seal_future_write", "seal_seal",
        "seal_exec", "memfd_noexec_seal", "memfd_exec", "memfd_hugetlb", "memfd_lock"}},
      {"membarrier", {"membarrier"}}};
  return table;
}

void check_hidden(const Findings& after, const std::set<std::string>& names, int error) {
  bool all_needed = true;
  for (const auto& name : names) {
    CAPTURE(name);
    const auto& feature = after.features.at(name);
    CHECK(feature.at("presence") == "missing");
    CHECK(error_number(feature) == error);
    all_needed = all_needed && !feature.at("needed").get<bool>();
  }
  CHECK(after.has_all_needed == all_needed);
  CHECK(after.status == (all_needed ? 0 : 1));
}

}  // namespace

TEST_CASE("doctor names each feature that a filter hides, with the filter's error, and no other") {
  const auto before = findings("");
  const std::map<std::string, int> actions{{"enosys", ENOSYS}, {"eperm", EPERM}};
  for (const auto& [action, error] : actions) {
    for (const auto& [call, names] : hidden_with()) {
      const auto filter = std::string(action).append(" ").append(call);
      CAPTURE(filter);
      const auto after = findings(filter);
      CHECK(differences(before, after) == names);
      check_hidden(after, names, error);
    }
  }
}

TEST_CASE("doctor outlives a filter that kills, and names what it kills for") {
  const auto before = findings("");
  const auto after = findings("kill memfd_secret,io_uring_setup");
  CHECK(differences(before, after) == std::set<std::string>{"memfd_secret", "io_uring"});
  for (const auto* name : {"memfd_secret", "io_uring"}) {
    const auto& feature = after.features.at(name);
    CHECK(feature.at("presence") == "missing");
    CHECK(feature.at("detail") == "the attempt was killed by signal 31");
  }
  CHECK(after.status == 0);
  CHECK(findings("kill memfd_create").status == 1);
}

TEST_CASE("doctor says unknown of everything where it cannot try, and fails") {
  const auto after = findings("eperm clone");
  for (const auto& [name, feature] : after.features) {
    CAPTURE(name);
    CHECK(feature.at("presence") == "unknown");
    CHECK(error_number(feature) == EPERM);
  }
  CHECK(after.status == 1);
}

TEST_CASE("doctor's JSON has the documented fields") {
  const auto ended = run(PARLEY_COMMAND " doctor --json");
  const json all = json::parse(ended.output);
  CHECK(all.size() == 3);
  CHECK(all.at("parley").is_string());
  CHECK(all.at("has_all_needed").get<bool>() == (ended.status == 0));
  for (const auto& feature : all.at("features")) {
    CAPTURE(feature.dump());
    CHECK(feature.size() == 10);
    for (const auto* field : {"name", "group", "detail", "used_for", "without"}) {
      CHECK(feature.at(field).is_string());
    }
    CHECK(feature.at("needed").is_boolean());
    CHECK(std::set<std::string>{"ok", "limited", "missing", "unknown"}.contains(
        feature.at("presence").get<std::string>()));
    CHECK(std::set<std::string>{"none", "count", "bytes"}.contains(
        feature.at("unit").get<std::string>()));
    CHECK((feature.at("value").is_null() || feature.at("value").is_number_unsigned()));
    const auto& error = feature.at("error");
    if (error.is_null()) continue;
    CHECK(error.at("number").is_number_integer());
    CHECK(error.at("message").is_string());
  }
}

TEST_CASE("doctor's list names what is missing, what it is for, and the verdict") {
  const auto list = filtered_doctor("enosys memfd_secret", "");
  CAPTURE(list.output);
  CHECK(list.status == 0);
  CHECK(list.output.find("  missing  memfd_secret         Function not implemented\n"
                         "           for memory that the kernel cannot read; without: secret "
                         "memory\n") != std::string::npos);
  CHECK(list.output.find("All that is needed is there") != std::string::npos);
  const auto bad = filtered_doctor("enosys set_robust_list", "");
  CAPTURE(bad.output);
  CHECK(bad.status == 1);
  CHECK(bad.output.find("Needed, and not known to be there: robust_list.\n") != std::string::npos);
}

TEST_CASE("doctor takes no argument but --json, and says when it cannot write") {
  CHECK(run(PARLEY_COMMAND " doctor everything 2>&1").status == 2);
  const auto full = run(PARLEY_COMMAND " doctor 2>&1 >/dev/full");
  CHECK(full.status == 1);
  CHECK(full.output == "parley: doctor: standard output: No space left on device\n");
}
