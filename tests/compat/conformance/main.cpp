// The program: every case under a deadline, or a role for the cases that execute it.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <unistd.h>

#include <string_view>

#include "process.hpp"

namespace {

struct DeadlineOfEachCase : doctest::IReporter {
  explicit DeadlineOfEachCase(const doctest::ContextOptions&) {}
  void report_query(const doctest::QueryData&) override {}
  void test_run_start() override {}
  void test_run_end(const doctest::TestRunStats&) override {}
  void test_case_start(const doctest::TestCaseData&) override { alarm(60); }
  void test_case_reenter(const doctest::TestCaseData&) override {}
  void test_case_end(const doctest::CurrentTestCaseStats&) override { alarm(0); }
  void test_case_exception(const doctest::TestCaseException&) override {}
  void subcase_start(const doctest::SubcaseSignature&) override {}
  void subcase_end() override {}
  void log_assert(const doctest::AssertData&) override {}
  void log_message(const doctest::MessageData&) override {}
  void test_case_skipped(const doctest::TestCaseData&) override {}
};
REGISTER_LISTENER("deadline", 1, DeadlineOfEachCase);

}  // namespace

auto main(int count, char** arguments) -> int {
  if (count > 1 && std::string_view(arguments[1]) == "--role") {
    return conformance::run_role(count, arguments);
  }
  return doctest::Context(count, arguments).run();
}
