// What a call that failed says: errno, with a type; and the Result that carries it.
#pragma once

#include <cerrno>
#include <expected>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

namespace parley {

/// An errno value. The names are those that callers handle; every other errno value is valid too.
/// Converts to `std::error_code` of the generic category, so `message()` is that of strerror(3).
enum class Error : int {
  not_permitted = EPERM,
  not_found = ENOENT,
  interrupted = EINTR,
  io = EIO,
  would_block = EAGAIN,
  out_of_memory = ENOMEM,
  access_denied = EACCES,
  busy = EBUSY,
  exists = EEXIST,
  invalid = EINVAL,
  no_space = ENOSPC,
  broken_pipe = EPIPE,
  out_of_range = ERANGE,
  name_too_long = ENAMETOOLONG,
  not_supported = EOPNOTSUPP,
  no_such_call = ENOSYS,
  message_too_long = EMSGSIZE,
  bad_descriptor = EBADF,
  too_big = E2BIG,
  timed_out = ETIMEDOUT,
  removed = EIDRM,
  corrupt = EBADMSG,
#ifdef EMEDIUMTYPE
  wrong_kind = EMEDIUMTYPE,
#else
  wrong_kind = EFTYPE,
#endif
  no_such_option = ENOPROTOOPT,
  no_buffer_space = ENOBUFS,
  address_in_use = EADDRINUSE,
  not_connected = ENOTCONN,
  connection_reset = ECONNRESET,
  refused = ECONNREFUSED,
  peer_died = EOWNERDEAD,
};

/// The value of a call, or why there is none. Nothing in the library throws; `.value()` does, for
/// whoever wants exceptions.
template <class T>
using Result = std::expected<T, Error>;

inline auto make_error_code(Error error) noexcept -> std::error_code {
  return {static_cast<int>(error), std::generic_category()};
}

/// The error of the C call that has just failed.
inline auto last_error() noexcept -> Error {
  return static_cast<Error>(errno);
}

/// What strerror(3) says of it: for a person, not for a program.
inline auto message(Error error) -> std::string {
  return make_error_code(error).message();
}

/// `return failure(Error::invalid);` in a function that yields any Result.
inline auto failure(Error error) noexcept -> std::unexpected<Error> {
  return std::unexpected(error);
}

/// The value that a successful Result holds, moved out: what PARLEY_TRY evaluates to.
template <class T, class E>
auto take_value(std::expected<T, E>&& result) -> T {
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace parley

template <>
struct std::is_error_code_enum<parley::Error> : std::true_type {};

/// The value of a Result; where it holds an error, the enclosing function returns that error.
#define PARLEY_TRY(...)                                                  \
  __extension__({                                                        \
    auto parley_result_ = (__VA_ARGS__);                                 \
    if (!parley_result_) return std::unexpected(parley_result_.error()); \
    ::parley::take_value(std::move(parley_result_));                     \
  })
