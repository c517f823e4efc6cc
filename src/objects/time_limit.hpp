// For how long one call may be at work for the others, under an object's latch.
#pragma once

#include <cstddef>

#include <parley/deadline.hpp>

#include "base/seam.hpp"
#include "shm/segment.hpp"

namespace parley {

/// Until the call's own deadline; or for `shm::patience`, where it has none or a later one. What it
/// ends fails with `busy`, for the object to tell the call's own error.
class TimeLimit {
 public:
  explicit TimeLimit(Deadline deadline) noexcept : deadline_(deadline), until_(deadline) {}

  [[nodiscard]] auto is_over() noexcept -> bool {
    work_ = 0;
    if (!begun_) {
      begun_ = true;
      const auto patience = Deadline::after(shm::patience);
      if (until_.is_now() || patience.point() < until_.point()) until_ = patience;
    }
    return until_.has_passed();
  }

  /// The same, before some more work, of about as many nanoseconds. Looks at the clock only now and
  /// then: little work costs nothing.
  [[nodiscard]] auto is_over(std::size_t work) noexcept -> bool {
    if (const auto told = seam::time_is_over()) return *told;
    work_ += work;
    constexpr std::size_t work_between_clocks = 50'000;
    return work_ > work_between_clocks && is_over();
  }

  /// What a call fails with that this ended: its deadline's error where that has passed.
  [[nodiscard]] auto error() const noexcept -> Error {
    const bool in_time = deadline_.is_now() || !deadline_.has_passed();
    return in_time ? Error::busy : deadline_.error();
  }

 private:
  Deadline deadline_;
  Deadline until_;
  std::size_t work_ = 0;
  bool begun_ = false;
};

}  // namespace parley
