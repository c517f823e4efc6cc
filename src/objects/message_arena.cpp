#include "objects/message_arena.hpp"

#include <bit>
#include <new>

namespace parley {

using shm::Draft;
using shm::halves;
using shm::high_half;
using shm::low_half;

namespace {

constexpr std::uint32_t nowhere = ~std::uint32_t{0};

auto units_of(std::uint32_t size_bytes) -> std::uint32_t {
  constexpr std::uint32_t unit = shm::arena_unit;
  return 1 + (size_bytes + unit - 1) / unit;
}

}  // namespace

auto MessageArena::block(std::uint32_t at) const noexcept -> shm::ArenaBlock& {
  return *std::launder(
      reinterpret_cast<shm::ArenaBlock*>(units_.data() + at * std::size_t{shm::arena_unit}));
}

auto MessageArena::class_of(std::uint32_t size) -> Class {
  if (size < shm::arena_columns) return {.row = 0, .column = size};
  const auto power = static_cast<std::uint32_t>(std::bit_width(size)) - 1;
  return {.row = power - 4, .column = size >> (power - 5) & 31U};
}

auto MessageArena::first(Class of) const noexcept -> shm::Word& {
  return classes_.first[of.row * std::size_t{shm::arena_columns} + of.column];
}

/// Of the block there: checked to lie, with its neighbours, before the arena's end.
auto MessageArena::extent(const Draft& draft, std::uint32_t at) const -> Result<Extent> {
  const auto end = low_half(draft.get(body_.arena));
  if (end > units_.size() / shm::arena_unit || at >= end) return failure(Error::corrupt);
  const auto word = draft.get(block(at).extent);
  const Extent extent{.size = low_half(word), .before = high_half(word)};
  const bool sound = extent.size >= 2 && extent.size <= end - at && extent.before <= at &&
                     (extent.before == 0) == (at == 0);
  return sound ? Result<Extent>(extent) : failure(Error::corrupt);
}

/// A free block of at least that size, or `nowhere`.
auto MessageArena::find(const Draft& draft, std::uint32_t size) const -> Result<std::uint32_t> {
  // So that whatever is in the class is large enough.
  auto rounded = size;
  if (size >= shm::arena_columns) rounded += (1U << (std::bit_width(size) - 6)) - 1;
  if (rounded < size) return nowhere;
  auto wanted = class_of(rounded);
  auto columns = low_half(draft.get(classes_.columns[wanted.row])) & (~0U << wanted.column);
  if (columns == 0) {
    const auto rows = low_half(draft.get(body_.arena_sizes)) & ((1U << shm::arena_rows) - 1) &
                      (~0U << 1U << wanted.row);
    if (rows == 0) return nowhere;
    wanted.row = static_cast<std::uint32_t>(std::countr_zero(rows));
    columns = low_half(draft.get(classes_.columns[wanted.row]));
    if (columns == 0) return failure(Error::corrupt);
  }
  wanted.column = static_cast<std::uint32_t>(std::countr_zero(columns));
  const auto found = low_half(draft.get(first(wanted)));
  return found == 0 ? failure(Error::corrupt) : Result<std::uint32_t>(found - 1);
}

auto MessageArena::insert(Draft& draft, std::uint32_t at, std::uint32_t size) -> Result<void> {
  const auto of = class_of(size);
  auto& head = first(of);
  const auto next = low_half(draft.get(head));
  draft.set(block(at).links, halves(0, next));
  draft.set(block(at).owner, 0);
  if (next != 0) {
    PARLEY_TRY(extent(draft, next - 1));
    auto& links = block(next - 1).links;
    draft.set(links, halves(at + 1, high_half(draft.get(links))));
  } else {
    auto& columns = classes_.columns[of.row];
    draft.set(columns, draft.get(columns) | 1U << of.column);
    draft.set(body_.arena_sizes, draft.get(body_.arena_sizes) | 1U << of.row);
  }
  draft.set(head, at + 1);
  return {};
}

auto MessageArena::remove(Draft& draft, std::uint32_t at, std::uint32_t size) -> Result<void> {
  const auto of = class_of(size);
  const auto links = draft.get(block(at).links);
  const auto before = low_half(links);
  const auto next = high_half(links);
  if (next != 0) {
    PARLEY_TRY(extent(draft, next - 1));
    auto& behind = block(next - 1).links;
    if (low_half(draft.get(behind)) != at + 1) return failure(Error::corrupt);
    draft.set(behind, halves(before, high_half(draft.get(behind))));
  }
  if (before != 0) {
    PARLEY_TRY(extent(draft, before - 1));
    auto& ahead = block(before - 1).links;
    if (high_half(draft.get(ahead)) != at + 1) return failure(Error::corrupt);
    draft.set(ahead, halves(low_half(draft.get(ahead)), next));
    return {};
  }
  auto& head = first(of);
  if (low_half(draft.get(head)) != at + 1) return failure(Error::corrupt);
  draft.set(head, next);
  if (next != 0) return {};
  auto& columns = classes_.columns[of.row];
  const auto left = draft.get(columns) & ~(std::uint64_t{1} << of.column);
  draft.set(columns, left);
  if (left == 0) {
    const auto rows = draft.get(body_.arena_sizes);
    draft.set(body_.arena_sizes, rows & ~(std::uint64_t{1} << of.row));
  }
  return {};
}

/// Leaves a block, which is in no list, as long as it is to be, and the rest of it free.
auto MessageArena::split(Draft& draft, std::uint32_t at, std::uint32_t size) -> Result<void> {
  const auto whole = PARLEY_TRY(extent(draft, at));
  constexpr std::uint32_t least = 2;
  if (whole.size - size < least) return {};
  const std::uint32_t rest = at + size;
  const std::uint32_t behind = at + whole.size;
  // The last block is not free: there is one behind.
  const auto extent_behind = PARLEY_TRY(extent(draft, behind));
  draft.set(block(at).extent, halves(size, whole.before));
  draft.set(block(rest).extent, halves(whole.size - size, size));
  draft.set(block(behind).extent, halves(extent_behind.size, whole.size - size));
  return insert(draft, rest, whole.size - size);
}

auto MessageArena::allocate(Draft& draft, std::uint32_t size_bytes, std::uint32_t owner,
                            std::uint64_t& wanted) -> Result<std::uint32_t> {
  const auto size = units_of(size_bytes);
  const auto found = PARLEY_TRY(find(draft, size));
  if (found != nowhere) {
    const auto whole = PARLEY_TRY(extent(draft, found));
    if (whole.size < size || draft.get(block(found).owner) != 0) return failure(Error::corrupt);
    PARLEY_TRY(remove(draft, found, whole.size));
    PARLEY_TRY(split(draft, found, size));
    draft.set(block(found).owner, owner + 1);
    return found;
  }
  const auto word = draft.get(body_.arena);
  const std::uint64_t end = low_half(word);
  const auto last = high_half(word);
  if (end + size > units_.size() / shm::arena_unit) return failure(Error::would_block);
  wanted = end + size;
  if (wanted > body_.backed_arena.load_relaxed()) return failure(Error::no_buffer_space);
  if (last > end) return failure(Error::corrupt);
  const auto at = static_cast<std::uint32_t>(end);
  // Nobody's before the end has moved.
  block(at).extent.store_release(halves(size, at - last));
  block(at).owner.store_release(owner + 1);
  draft.set(body_.arena, halves(at + size, at));
  return at;
}

auto MessageArena::free(Draft& draft, std::uint32_t at, std::uint32_t owner) -> Result<void> {
  auto whole = PARLEY_TRY(extent(draft, at));
  if (draft.get(block(at).owner) != owner + 1) return failure(Error::corrupt);
  const auto end = low_half(draft.get(body_.arena));
  if (const auto behind = at + whole.size; behind < end) {
    const auto next = PARLEY_TRY(extent(draft, behind));
    if (draft.get(block(behind).owner) == 0) {
      PARLEY_TRY(remove(draft, behind, next.size));
      whole.size += next.size;
    }
  }
  if (whole.before != 0) {
    const auto before = at - whole.before;
    const auto previous = PARLEY_TRY(extent(draft, before));
    if (previous.size != whole.before) return failure(Error::corrupt);
    if (draft.get(block(before).owner) == 0) {
      PARLEY_TRY(remove(draft, before, previous.size));
      whole = {.size = whole.size + previous.size, .before = previous.before};
      at = before;
    }
  }
  const auto behind = at + whole.size;
  if (behind == end) {
    draft.set(body_.arena, halves(at, at - whole.before));
    return {};
  }
  const auto next = PARLEY_TRY(extent(draft, behind));
  draft.set(block(at).extent, halves(whole.size, whole.before));
  draft.set(block(behind).extent, halves(next.size, whole.size));
  return insert(draft, at, whole.size);
}

auto MessageArena::payload(std::uint32_t at, std::uint32_t owner, std::uint32_t size_bytes) const
    -> Result<std::span<std::byte>> {
  const auto end = low_half(body_.arena.load_relaxed());
  if (end > units_.size() / shm::arena_unit || at >= end) return failure(Error::corrupt);
  const auto size = low_half(block(at).extent.load_relaxed());
  const bool sound = size >= units_of(size_bytes) && size <= end - at &&
                     block(at).owner.load_relaxed() == owner + 1;
  if (!sound) return failure(Error::corrupt);
  return room(at, size_bytes);
}

}  // namespace parley
