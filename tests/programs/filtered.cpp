// Runs a program under a filter that hides system calls, as an older kernel or a container does.
//
//   filtered [enosys|eperm|kill CALL,CALL,...]... [old_kernel] -- PROGRAM [ARGUMENT...]
#include <seccomp.h>
#include <unistd.h>
#include <cerrno>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "filtered: %s\n", why.c_str());
  std::exit(125);
}

void check(int result, const std::string& what) {
  if (result != 0) fail(what + ": error " + std::to_string(-result));
}

auto number_of(const std::string& call) -> int {
  const int number = seccomp_syscall_resolve_name(call.c_str());
  if (number == __NR_SCMP_ERROR) fail("no such system call: " + call);
  return number;
}

void hide(scmp_filter_ctx filter, std::uint32_t action, const std::string& calls) {
  std::istringstream names(calls);
  for (std::string call; std::getline(names, call, ',');) {
    check(seccomp_rule_add(filter, action, number_of(call), 0), call);
  }
}

/// Where the argument, under the mask, is the value, the call is one that the kernel does not know.
void hide_flag(scmp_filter_ctx filter, int error, const std::string& call, unsigned argument,
               std::uint64_t mask, std::uint64_t value) {
  const scmp_arg_cmp comparison{
      .arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
  check(seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error)),
                               number_of(call), 1, &comparison),
        call);
}

void hide_flags(scmp_filter_ctx filter, int error, const std::string& call, unsigned argument,
                std::uint64_t bits) {
  for (std::uint64_t bit = 1; bit <= bits; bit <<= 1) {
    if ((bits & bit) != 0) hide_flag(filter, error, call, argument, bit, bit);
  }
}

/// Linux as it was before 5.3, so far as a filter can tell: without the calls and flags that Parley
/// has another way for.
void become_old_kernel(scmp_filter_ctx filter) {
  constexpr std::uint64_t all_bits = 0xffff'ffff;
  hide(filter, SCMP_ACT_ERRNO(ENOSYS),
       "futex_waitv,close_range,pidfd_open,pidfd_getfd,landlock_create_ruleset,landlock_add_rule,"
       "landlock_restrict_self,memfd_secret,clone3,openat2,faccessat2,io_uring_setup");
  hide_flags(filter, EINVAL, "memfd_create", 1, 0x0008 | 0x0010);  // MFD_NOEXEC_SEAL, MFD_EXEC
  hide_flags(filter, EOPNOTSUPP, "pwritev2", 5, 0x100);            // RWF_NOSIGNAL
  for (const std::uint64_t option : {76U, 77U}) {                  // SO_PASSPIDFD, SO_PEERPIDFD
    hide_flag(filter, ENOPROTOOPT, "getsockopt", 2, all_bits, option);
    hide_flag(filter, ENOPROTOOPT, "setsockopt", 2, all_bits, option);
  }
}

}  // namespace

auto main(int argc, char** argv) -> int {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto dashes = std::ranges::find(words, "--");
  if (dashes == words.end() || dashes + 1 == words.end()) fail("no -- PROGRAM");
  const std::map<std::string, std::uint32_t> actions{{"enosys", SCMP_ACT_ERRNO(ENOSYS)},
                                                     {"eperm", SCMP_ACT_ERRNO(EPERM)},
                                                     {"kill", SCMP_ACT_KILL_PROCESS}};
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (filter == nullptr) fail("no filter");
  for (auto word = words.begin(); word != dashes; ++word) {
    if (*word == "old_kernel") {
      become_old_kernel(filter);
      continue;
    }
    const auto action = actions.find(*word);
    if (action == actions.end() || word + 1 == dashes) fail("what is " + *word + "?");
    hide(filter, action->second, *++word);
  }
  check(seccomp_load(filter), "load");
  char** const program = argv + 1 + (dashes - words.begin()) + 1;
  execvp(*program, program);
  fail(std::string(*program) + " cannot be run");
}
