#include "tour/mechanism.hpp"

namespace parley::cli {

auto Mechanism::send_file(Source& source) -> Result<void> {
  for (;;) {
    const auto into = PARLEY_TRY(room());
    const auto count_bytes = PARLEY_TRY(source.read(into));
    if (count_bytes == 0) return {};
    PARLEY_TRY(send(count_bytes));
  }
}

auto Mechanism::receive_file(Copy& copy) -> Result<void> {
  while (!copy.is_complete()) {
    const auto bytes = PARLEY_TRY(receive());
    if (bytes.empty()) return {};
    copy.take(bytes);
  }
  return {};
}

}  // namespace parley::cli
