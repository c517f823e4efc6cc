// The names of System V objects: numbers, by convention made from a file.
#pragma once

#include <sys/ipc.h>
#include <sys/types.h>

#include <cstdint>
#include <string>

#include <parley/error.hpp>

namespace parley::os::sysv {

/// What processes that share nothing else find an object by. Each of the three kinds of object has
/// its own space of keys, one per IPC namespace and flat: whoever guesses a key has found the
/// object, and two programs that chose the same number collide. sysvipc(7)
class Key {
 public:
  /// IPC_PRIVATE: no key at all. Every create makes a new object, which only its id leads to.
  static constexpr auto private_key() noexcept -> Key { return Key(IPC_PRIVATE); }

  static constexpr auto from_number(key_t number) noexcept -> Key { return Key(number); }

  /// Made of the file's inode and device number and `project` by ftok(3), so that programs that
  /// know the same path arrive at the same key; the file is only a common point, nothing is written
  /// to it. The file must exist (`not_found`) and its directories be searchable (`access_denied`);
  /// a `project` of 0 is `invalid`.
  ///
  /// It can collide: only the low 16 bits of the inode and the low 8 of the device are in the key,
  /// so of a few hundred files two are likely to share one. A file that was deleted and made again
  /// has another inode and so mostly another key. Never `private_key()`.
  static auto from_file(const std::string& path, std::uint8_t project) -> Result<Key>;

  [[nodiscard]] constexpr auto number() const noexcept -> key_t { return number_; }
  [[nodiscard]] constexpr auto is_private() const noexcept -> bool {
    return number_ == IPC_PRIVATE;
  }

  auto operator==(const Key&) const noexcept -> bool = default;

 private:
  constexpr explicit Key(key_t number) noexcept : number_(number) {}

  key_t number_;
};

}  // namespace parley::os::sysv
