// A POSIX name of a test's own; whatever bears it is unlinked when the test ends.
#pragma once

#include <string>
#include <string_view>

namespace parley::test {

class PosixName {
 public:
  PosixName();
  PosixName(const PosixName&) = delete;
  auto operator=(const PosixName&) -> PosixName& = delete;
  ~PosixName();

  // The name can be used wherever one is asked for.
  // NOLINTNEXTLINE(google-explicit-constructor,hicpp-explicit-conversions)
  operator std::string_view() const { return name_; }
  [[nodiscard]] auto text() const -> const std::string& { return name_; }

  /// Unlinks what bears it, and says whether there was anything.
  auto remove() const -> bool;

 private:
  std::string name_;
};

/// In how many places the address space of this process shows `text`: the path of an object or the
/// name of a memfd. /proc/self/maps
auto mappings_of(const std::string& text) -> int;

}  // namespace parley::test
