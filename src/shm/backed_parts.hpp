// Equal parts of a body that get their memory when they are first used, from the first on.
//
// Owners      the mark, so many have memory: the latch's holder, who raises it.
// Invariants  I1 what is below the mark has memory.
// Edges       BACKED  the mark is raised after there is memory -> whoever reads it without the
// latch
//             may read what is below it.
// Crash       A holder that dies before it has raised the mark leaves memory that nobody uses, and
//             that whoever needs it next is given once more, as it is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <parley/error.hpp>

#include "shm/atomic.hpp"
#include "shm/layout/parts.hpp"
#include "shm/segment.hpp"

namespace parley::shm {

class BackedParts {
 public:
  BackedParts(Atomic<std::uint64_t>& mark, const PartsShape& shape) noexcept
      : mark_(mark), shape_(shape) {}

  [[nodiscard]] auto shape() const noexcept -> const PartsShape& { return shape_; }

  /// So many have memory; never more than there are.
  [[nodiscard]] auto count() const noexcept -> std::uint32_t {
    const auto mark = mark_.load_acquire();  // BACKED
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(mark, shape_.most));
  }

  /// Has memory for that many, or for all if there are fewer, and for what else lies in the same
  /// pages; under the latch. `no_space`, and nothing has happened.
  auto back(const Segment& segment, std::uint32_t wanted) const -> Result<void>;

 private:
  Atomic<std::uint64_t>& mark_;
  PartsShape shape_;
};

inline auto BackedParts::back(const Segment& segment, std::uint32_t wanted) const -> Result<void> {
  const auto backed = count();
  wanted = std::min(wanted, shape_.most);
  if (wanted <= backed) return {};
  const ByteRange range{.begin = shape_.end_of(backed),
                        .end = std::min(page_up(shape_.end_of(wanted)), segment.body().size())};
  PARLEY_TRY(segment.back(range));
  mark_.store_release(shape_.whole_before(range.end));  // BACKED
  return {};
}

}  // namespace parley::shm
