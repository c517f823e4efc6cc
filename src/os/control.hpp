// Control messages as the kernel reads and writes them: a buffer of headers and data. cmsg(3)
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <parley/os/ancillary.hpp>

namespace parley::os {

/// Room for what is not descriptors, of everything that Ancillary knows at once.
inline constexpr std::size_t metadata_bytes = 1024;

/// Room for `descriptor_count` descriptors and for metadata.
auto control_capacity_bytes(std::size_t descriptor_count) noexcept -> std::size_t;

/// The buffer for one message: the attachments, with `descriptors` (at most
/// `descriptors_per_message`) in place of theirs. Empty where there is nothing to say.
auto build_control(const Attachments& attachments, std::span<const BorrowedFd> descriptors,
                   Family family) -> std::vector<std::byte>;

/// Takes over every descriptor in the buffer. A header whose length does not fit the buffer is
/// `corrupt`; the descriptors before it are closed.
auto parse_control(std::span<const std::byte> control) -> Result<Ancillary>;

}  // namespace parley::os
