// What the tour found out about one mechanism.
#pragma once

#include <cstdint>
#include <string>

#include "tour/mechanism.hpp"
#include "tour/original.hpp"

namespace parley::cli {

/// Times from before a message is sent until its echo was compared.
struct RoundTrips {
  std::uint32_t sample_count = 0;
  std::int64_t median_ns = 0;
  std::int64_t p99_ns = 0;
};

enum class Verdict : unsigned char {
  verified,  ///< The copy is the original, and every message came back as it was sent.
  differs,   ///< The copy is not the original.
  refused,   ///< This machine does not allow to make or to open it.
  failed,    ///< It began, and broke.
};

auto name_of(Verdict verdict) -> std::string_view;

struct Outcome {
  const Stop* stop = nullptr;
  Verdict verdict = Verdict::failed;
  std::string reason;  ///< Empty when verified.
  Fingerprint copy;
  std::uint64_t message_bytes = 0;  ///< The most that was sent at once.
  std::int64_t transfer_ns = 0;     ///< From before the first send until the copy was summed up.
  RoundTrips round_trips;

  [[nodiscard]] auto bytes_per_second() const -> double {
    return static_cast<double>(copy.size_bytes) * 1e9 / static_cast<double>(transfer_ns);
  }
};

}  // namespace parley::cli
