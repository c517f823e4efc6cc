// sigaction, signal and their kin, in place of the C library's.
//
// Owners      handlers: whoever calls sigaction, in any thread or handler. The counts: the thread.
// Invariants  I1 The kernel knows `run_handler` only of signals whose handler is in the table.
//             I2 A handler stays in the table when the disposition goes back to SIG_DFL or SIG_IGN:
//                the kernel says whether it runs. So a child of vfork(2), which shares the table
//                and resets its dispositions before exec, takes nothing away from its parent.
// Edges       A handler and how it is called are one word, so they are read together, without a
//             lock, which a handler could not take. It is stored before the kernel is told.

#include "signals.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>

#include <parley/deadline.hpp>

#include "export.hpp"
#include "next.hpp"

namespace parley::compat {

using Handler = void (*)(int);

namespace {

using InformedHandler = void (*)(int, siginfo_t*, void*);

constexpr std::uint64_t takes_information = 1;
constexpr std::uint64_t restarts = 2;
constexpr unsigned handler_shift = 2;  // an address in user space leaves so many bits

/// By signal number. 0 where there never was a handler.
constinit std::array<std::uint64_t, NSIG> handlers{};
static_assert(__atomic_always_lock_free(sizeof(std::uint64_t), nullptr));

[[gnu::tls_model("initial-exec")]] constinit thread_local std::uint32_t restarting_handlers = 0;
[[gnu::tls_model("initial-exec")]] constinit thread_local std::uint32_t ending_handlers = 0;

/// The signals whose handlers siginterrupt(3) wants without SA_RESTART.
constinit std::uint64_t interrupting_signals = 0;

auto bit_of(int signal) noexcept -> std::uint64_t {
  if (signal < 1 || signal >= NSIG) return 0;
  return std::uint64_t{1} << static_cast<unsigned>(signal - 1);
}

auto pack(const struct sigaction& action) noexcept -> std::uint64_t {
  auto word = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(action.sa_handler))
              << handler_shift;
  if ((action.sa_flags & SA_SIGINFO) != 0) word |= takes_information;
  if ((action.sa_flags & SA_RESTART) != 0) word |= restarts;
  return word;
}

auto address_in(std::uint64_t word) noexcept -> std::uintptr_t {
  return static_cast<std::uintptr_t>(word >> handler_shift);
}

/// What the kernel calls.
void run_handler(int signal, siginfo_t* information, void* context) {
  const auto word = __atomic_load_n(&handlers[static_cast<std::size_t>(signal)], __ATOMIC_ACQUIRE);
  if ((word & restarts) != 0) {
    __atomic_fetch_add(&restarting_handlers, 1, __ATOMIC_RELAXED);
  } else {
    __atomic_fetch_add(&ending_handlers, 1, __ATOMIC_RELAXED);
  }
  interrupt_wait();
  // NOLINTBEGIN(performance-no-int-to-ptr): it was a pointer.
  if ((word & takes_information) != 0) {
    reinterpret_cast<InformedHandler>(address_in(word))(signal, information, context);
  } else {
    reinterpret_cast<Handler>(address_in(word))(signal);
  }
  // NOLINTEND(performance-no-int-to-ptr)
}

// Found at the start, before the program can be in a handler of ours.
constinit Next<int(int, const struct sigaction*, struct sigaction*)> next("sigaction");

/// Signals that no handler can be set for, some of them the C library's own.
auto is_beyond_us(int signal) noexcept -> bool {
  return signal < 1 || signal >= NSIG || signal == SIGKILL || signal == SIGSTOP ||
         (signal > SIGSYS && signal < SIGRTMIN);
}

/// Of an action as the kernel has it: the program's own.
void show_own(struct sigaction& action, std::uint64_t word) noexcept {
  if ((action.sa_flags & SA_SIGINFO) == 0 || action.sa_sigaction != run_handler) return;
  // NOLINTNEXTLINE(performance-no-int-to-ptr): it was a pointer.
  action.sa_handler = reinterpret_cast<Handler>(address_in(word));
  if ((word & takes_information) == 0) action.sa_flags &= ~SA_SIGINFO;
}

auto set_action(int signal, const struct sigaction* action, struct sigaction* old) noexcept -> int {
  if (is_beyond_us(signal)) return next.get()(signal, action, old);
  auto& entry = handlers[static_cast<std::size_t>(signal)];
  auto before = __atomic_load_n(&entry, __ATOMIC_ACQUIRE);
  // With SA_SIGINFO too: both fields are one.
  const bool handled =
      action != nullptr && action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
  struct sigaction ours{};
  if (handled) {
    ours = *action;
    ours.sa_sigaction = run_handler;
    ours.sa_flags |= SA_SIGINFO;
    before = __atomic_exchange_n(&entry, pack(*action), __ATOMIC_ACQ_REL);
  }
  struct sigaction found{};
  const int result =
      next.get()(signal, handled ? &ours : action, old != nullptr ? &found : nullptr);
  if (result != 0) {
    if (handled) __atomic_store_n(&entry, before, __ATOMIC_RELEASE);
    return result;
  }
  if (old != nullptr) {
    show_own(found, before);
    *old = found;
  }
  return 0;
}

/// The older functions: a handler and flags; the handler that was there, or SIG_ERR.
auto set_handler(int signal, Handler handler, int flags, bool blocks_itself) noexcept -> Handler {
  if (handler == SIG_ERR || signal < 1 || signal >= NSIG) {
    errno = EINVAL;
    return SIG_ERR;
  }
  struct sigaction action{};
  action.sa_handler = handler;
  action.sa_flags = flags;
  if (blocks_itself) sigaddset(&action.sa_mask, signal);
  struct sigaction old{};
  return set_action(signal, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}

auto set_bsd_handler(int signal, Handler handler) noexcept -> Handler {
  const auto interrupting = __atomic_load_n(&interrupting_signals, __ATOMIC_RELAXED);
  const bool ends = (interrupting & bit_of(signal)) != 0;
  return set_handler(signal, handler, ends ? 0 : SA_RESTART, true);
}

auto set_interrupting(int signal, bool interrupts) noexcept -> int {
  struct sigaction action{};
  if (set_action(signal, nullptr, &action) != 0) return -1;
  if (interrupts) {
    __atomic_fetch_or(&interrupting_signals, bit_of(signal), __ATOMIC_RELAXED);
    action.sa_flags &= ~SA_RESTART;
  } else {
    __atomic_fetch_and(&interrupting_signals, ~bit_of(signal), __ATOMIC_RELAXED);
    action.sa_flags |= SA_RESTART;
  }
  return set_action(signal, &action, nullptr);
}

/// sigset(3): also blocks and unblocks, and tells whether it was blocked.
auto set_disposition(int signal, Handler disposition) noexcept -> Handler {
  sigset_t only;
  sigemptyset(&only);
  if (disposition == SIG_ERR || sigaddset(&only, signal) != 0) {
    errno = EINVAL;
    return SIG_ERR;
  }
  sigset_t mask;
  if (disposition == SIG_HOLD) {
    if (sigprocmask(SIG_BLOCK, &only, &mask) != 0) return SIG_ERR;
    if (sigismember(&mask, signal) == 1) return SIG_HOLD;
    struct sigaction action{};
    return set_action(signal, nullptr, &action) == 0 ? action.sa_handler : SIG_ERR;
  }
  const auto old = set_handler(signal, disposition, 0, false);
  if (old == SIG_ERR || sigprocmask(SIG_UNBLOCK, &only, &mask) != 0) return SIG_ERR;
  return sigismember(&mask, signal) == 1 ? SIG_HOLD : old;
}

[[gnu::constructor]] void find_next() {
  static_cast<void>(next.get());
}

}  // namespace

HandlersSince::HandlersSince() noexcept
    : restarting_(__atomic_load_n(&restarting_handlers, __ATOMIC_RELAXED)),
      ending_(__atomic_load_n(&ending_handlers, __ATOMIC_RELAXED)) {}

auto HandlersSince::let_restart() const noexcept -> bool {
  return __atomic_load_n(&restarting_handlers, __ATOMIC_RELAXED) != restarting_ &&
         __atomic_load_n(&ending_handlers, __ATOMIC_RELAXED) == ending_;
}

}  // namespace parley::compat

// The C library's names, as its headers declare them; what they leave out is declared here.
using parley::compat::Handler;

PARLEY_COMPAT auto sigaction(int signal, const struct sigaction* action,
                             struct sigaction* old) noexcept -> int {
  return parley::compat::set_action(signal, action, old);
}

// NOLINTNEXTLINE(bugprone-reserved-identifier,readability-identifier-naming): its name.
PARLEY_COMPAT auto __sigaction(int signal, const struct sigaction* action,
                               struct sigaction* old) noexcept -> int {
  return parley::compat::set_action(signal, action, old);
}

PARLEY_COMPAT auto signal(int signal, Handler handler) noexcept -> Handler {
  return parley::compat::set_bsd_handler(signal, handler);
}

PARLEY_COMPAT auto bsd_signal(int signal, Handler handler) noexcept -> Handler {
  return parley::compat::set_bsd_handler(signal, handler);
}

PARLEY_COMPAT auto ssignal(int signal, Handler handler) noexcept -> Handler {
  return parley::compat::set_bsd_handler(signal, handler);
}

PARLEY_COMPAT auto sysv_signal(int signal, Handler handler) noexcept -> Handler {
  return parley::compat::set_handler(signal, handler, static_cast<int>(SA_RESETHAND | SA_NODEFER),
                                     false);
}

PARLEY_COMPAT auto __sysv_signal(int signal, Handler handler) noexcept -> Handler {
  return sysv_signal(signal, handler);
}

PARLEY_COMPAT auto sigset(int signal, Handler disposition) noexcept -> Handler {
  return parley::compat::set_disposition(signal, disposition);
}

PARLEY_COMPAT auto siginterrupt(int signal, int interrupts) noexcept -> int {
  return parley::compat::set_interrupting(signal, interrupts != 0);
}
