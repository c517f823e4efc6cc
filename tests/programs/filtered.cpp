// Runs a program under a filter that hides system calls, as an older kernel or a container does.
//
//   filtered [enosys|eperm|kill CALL,CALL,...]... [old_kernel] -- PROGRAM [ARGUMENT...]
#include <netinet/in.h>
#include <seccomp.h>
#include <sys/socket.h>
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

/// Where the arguments compare so, the call fails as on a kernel that does not know the flag.
void hide_use(scmp_filter_ctx filter, int error, const std::string& call,
              const std::vector<scmp_arg_cmp>& arguments) {
  check(seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error)),
                               number_of(call), static_cast<unsigned>(arguments.size()),
                               arguments.data()),
        call);
}

auto is(unsigned argument, std::uint64_t value) -> scmp_arg_cmp {
  return {.arg = argument, .op = SCMP_CMP_EQ, .datum_a = value, .datum_b = 0};
}
auto is_at_least(unsigned argument, std::uint64_t value) -> scmp_arg_cmp {
  return {.arg = argument, .op = SCMP_CMP_GE, .datum_a = value, .datum_b = 0};
}
auto has_bits(unsigned argument, std::uint64_t mask, std::uint64_t bits) -> scmp_arg_cmp {
  return {.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = bits};
}

/// Linux 5.4, so far as a filter can tell, and without the older clone3, which containers hide:
/// the calls that came later, and of their flags those that Parley uses.
void become_old_kernel(scmp_filter_ctx filter) {
  // Newer calls have higher numbers, the same ones on all machines that Parley runs on.
  constexpr int clone3 = 435;
  constexpr int still_unused = 512;
  for (int number = clone3; number < still_unused; ++number) {
    check(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0), std::to_string(number));
  }
  for (const std::uint64_t flag : {0x08U, 0x10U}) {  // MFD_NOEXEC_SEAL, MFD_EXEC
    hide_use(filter, EINVAL, "memfd_create", {has_bits(1, flag, flag)});
  }
  constexpr std::uint64_t add_seals = 1033;
  constexpr std::uint64_t seal_exec = 0x20;
  hide_use(filter, EINVAL, "fcntl", {is(1, add_seals), has_bits(2, seal_exec, seal_exec)});
  hide_use(filter, EINVAL, "madvise", {is_at_least(2, 22)});              // MADV_POPULATE_READ, …
  hide_use(filter, EOPNOTSUPP, "pwritev2", {has_bits(5, 0x100, 0x100)});  // RWF_NOSIGNAL
  hide_use(filter, ENOTTY, "ioctl", {has_bits(1, 0xffff, 0xff0b)});       // PIDFD_GET_INFO
  for (const auto* call : {"getsockopt", "setsockopt"}) {
    hide_use(filter, ENOPROTOOPT, call,
             {is(1, SOL_SOCKET), is_at_least(2, 69)});                    // SO_PREFER_BUSY_POLL, …
    hide_use(filter, ENOPROTOOPT, call, {is(1, IPPROTO_IP), is(2, 51)});  // IP_LOCAL_PORT_RANGE
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
