// For how long one call may be at work for the others, under an object's latch.
#pragma once

#include <cstddef>

#include <parley/deadline.hpp>

#include "base/seam.hpp"
#include "shm/segment.hpp"

namespace parley {

/// Until the call's own deadline; or for `shm::patience`, where it has none or a later one.
class TimeLimit {
 public:
  explicit TimeLimit(Deadline deadline) noexcept : until_(deadline) {}

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

 private:
  Deadline until_;
  std::size_t work_ = 0;
  bool begun_ = false;
};

}  // namespace parley
