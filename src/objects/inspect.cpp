#include "objects/inspect.hpp"

#include <algorithm>
#include <bit>
#include <ranges>

#include "os/keeper.hpp"
#include "os/seals.hpp"
#include "shm/header.hpp"
#include "shm/layout/journal.hpp"
#include "shm/layout/latch.hpp"
#include "shm/layout/message_queue.hpp"
#include "shm/layout/mutex.hpp"
#include "shm/layout/semaphore_set.hpp"
#include "shm/layout/shared_memory.hpp"
#include "shm/layout/stream.hpp"

namespace parley {
namespace {

using shm::ObjectKind;
using shm::SegmentHeader;

/// How often an object is looked at that changes meanwhile.
constexpr int looks_at_most = 20;

/// What nearly every change of an object changes: compared before and after a look.
constexpr std::size_t pulse_words = 32;

struct Pulse {
  Copied<shm::Atomic<std::uint64_t>> places;
  Copied<shm::Atomic<std::uint64_t>> body;

  [[nodiscard]] auto operator==(const Pulse& other) const -> bool {
    const auto same = [](const auto& one, const auto& two) {
      return std::ranges::equal(one.all(), two.all(), {}, &shm::Atomic<std::uint64_t>::load_relaxed,
                                &shm::Atomic<std::uint64_t>::load_relaxed);
    };
    return same(places, other.places) && same(body, other.body);
  }
};

/// What is fixed when an object is made, checked.
struct Frame {
  ObjectKind kind;
  std::uint32_t version;
  std::uint32_t place_count;
  std::size_t body_offset;
  std::size_t body_bytes;
  std::array<std::uint64_t, 2> uuid;
};

auto version_of(ObjectKind kind) -> std::optional<std::uint32_t> {
  switch (kind) {
    case ObjectKind::semaphore_set:
      return shm::semaphore_set_version;
    case ObjectKind::mutex:
      return shm::mutex_version;
    case ObjectKind::shared_memory:
      return shm::shared_memory_version;
    case ObjectKind::stream:
      return shm::stream_version;
    case ObjectKind::message_queue:
      return shm::message_queue_version;
    case ObjectKind::space_table:
      return std::nullopt;  // no object that is used by itself
  }
  return std::nullopt;
}

auto check(const SegmentHeader& header, std::size_t file_bytes) -> Result<Frame> {
  if (header.magic.load_relaxed() != shm::segment_magic) return failure(Error::invalid);
  const auto kind = static_cast<ObjectKind>(header.kind.load_relaxed());
  const auto known = version_of(kind);
  if (!known) return failure(Error::not_supported);
  PARLEY_TRY(shm::check_kind(header, kind, *known));
  const auto places = header.place_count.load_relaxed();
  const auto offset = header.body_offset.load_relaxed();
  const auto bytes = header.segment_bytes.load_relaxed();
  const bool has_places = kind != ObjectKind::shared_memory;
  const bool sound = has_places ? places >= 2 && places <= shm::places_at_most &&
                                      offset == shm::body_offset(places) && bytes == file_bytes
                                : places == 0 && std::has_single_bit(offset) &&
                                      offset >= shm::body_alignment && bytes <= file_bytes;
  if (!sound || bytes <= offset) return failure(Error::corrupt);
  return Frame{.kind = kind,
               .version = *known,
               .place_count = places,
               .body_offset = offset,
               .body_bytes = bytes - offset,
               .uuid = {header.uuid[0].load_relaxed(), header.uuid[1].load_relaxed()}};
}

/// Whether the life words hold: not those of an earlier start of the system, or of a copied file.
auto lives_hold(const SegmentHeader& header, std::uint64_t inode) -> bool {
  const auto boot = shm::this_boot();
  const std::array stored{header.boot[0].load_relaxed(), header.boot[1].load_relaxed()};
  const bool boot_known = boot != std::array<std::uint64_t, 2>{};
  return header.inode.load_relaxed() == inode && (!boot_known || stored == boot);
}

auto look_at_places(const ObjectReader& reader, const Frame& frame, bool lives_hold)
    -> Result<Participants> {
  constexpr std::uint32_t thread_bits = 0x3fff'ffff;
  std::vector<InspectedParticipant> participants;
  const auto places = PARLEY_TRY(reader.read<shm::Place>(shm::places_offset, frame.place_count));
  for (std::uint32_t at = 0; at < frame.place_count; ++at) {
    const auto life = places[at].life.load_relaxed();
    if (life == 0) continue;
    participants.push_back({.place = at,
                            .is_alive = lives_hold && !shm::is_dead(life),
                            .keeper_thread = life & thread_bits,
                            .process = 0,
                            .adjustments = 0,
                            .waiting = 0,
                            .holding = 0});
  }
  return Participants(std::move(participants));
}

/// One look at an object in which processes take part.
class Look {
 public:
  Look(os::BorrowedFd fd, const Frame& frame, bool lives_hold, Inspection& inspection)
      : reader_(fd, frame.body_offset),
        frame_(frame),
        lives_hold_(lives_hold),
        inspection_(inspection) {}

  auto run() -> Result<void> {
    const auto before = PARLEY_TRY(pulse());
    auto participants = PARLEY_TRY(look_at_places(reader_, frame_, lives_hold_));
    PARLEY_TRY(look_at_body(participants));
    const auto latch = PARLEY_TRY(reader_.read_body<shm::LatchWords>(0, 1));
    const auto holder = latch[0].holder.load_relaxed();
    const auto* const who = holder == 0 ? nullptr : participants.at(holder - 1);
    inspection_.is_locked_by_the_dead = who != nullptr && !who->is_alive;
    const bool is_mutex = frame_.kind == ObjectKind::mutex;
    const bool has_journal =
        frame_.kind == ObjectKind::semaphore_set || frame_.kind == ObjectKind::message_queue;
    if (is_mutex && holder != 0) {
      std::get<MutexInspection>(inspection_.what).holder = holder - 1;
    } else if (has_journal && inspection_.is_locked_by_the_dead) {
      const auto journal = PARLEY_TRY(reader_.read_body<shm::Journal>(sizeof(shm::LatchWords), 1));
      inspection_.words_to_store = journal[0].count.load_relaxed();
    }
    const bool at_rest = is_mutex || holder == 0 || inspection_.is_locked_by_the_dead;
    inspection_.is_steady = at_rest && before == PARLEY_TRY(pulse());
    inspection_.participants = std::move(participants.all());
    return {};
  }

 private:
  auto pulse() -> Result<Pulse> {
    using Word = shm::Atomic<std::uint64_t>;
    const auto words = std::min(pulse_words, frame_.body_bytes / sizeof(Word));
    auto places = PARLEY_TRY(reader_.read<Word>(shm::places_offset, frame_.place_count));
    auto body = PARLEY_TRY(reader_.read_body<Word>(0, words));
    return Pulse{.places = std::move(places), .body = std::move(body)};
  }

  auto look_at_body(Participants& participants) -> Result<void> {
    const ObjectLook look{.reader = reader_,
                          .place_count = frame_.place_count,
                          .body_bytes = frame_.body_bytes,
                          .participants = participants};
    switch (frame_.kind) {
      case ObjectKind::semaphore_set:
        inspection_.what = PARLEY_TRY(look_at_semaphore_set(look));
        break;
      case ObjectKind::stream:
        inspection_.what = PARLEY_TRY(look_at_stream(look));
        break;
      case ObjectKind::message_queue:
        inspection_.what = PARLEY_TRY(look_at_message_queue(look));
        break;
      default: {
        if (frame_.body_bytes != sizeof(shm::MutexBody)) return failure(Error::corrupt);
        const auto body = PARLEY_TRY(reader_.read_body<shm::MutexBody>(0, 1));
        inspection_.what = MutexInspection{.holder = std::nullopt,
                                           .peer_died = body[0].inherited.load_relaxed() != 0};
      }
    }
    return {};
  }

  ObjectReader reader_;
  const Frame& frame_;
  bool lives_hold_;
  Inspection& inspection_;
};

auto look_at_memory(os::BorrowedFd fd, const Frame& frame) -> Result<SharedMemoryInspection> {
  const ObjectReader reader(fd, frame.body_offset);
  const auto own =
      PARLEY_TRY(reader.read<shm::SharedMemoryHeader>(shm::shared_memory_header_offset, 1));
  const auto growable = own[0].growable.load_relaxed();
  if (growable > 1) return failure(Error::corrupt);
  const auto seals = os::seals_of(fd);
  return SharedMemoryInspection{.size_bytes = frame.body_bytes,
                                .is_growable = growable == 1,
                                .seals = seals ? std::optional(*seals) : std::nullopt};
}

}  // namespace

auto inspect(os::BorrowedFd fd) -> Result<Inspection> {
  Inspection inspection{};
  for (int looks = 0; looks < looks_at_most && !inspection.is_steady; ++looks) {
    const auto status = PARLEY_TRY(os::object_status(fd));
    if (status.size_bytes <= shm::body_alignment) return failure(Error::invalid);
    const auto header = PARLEY_TRY(ObjectReader(fd, 0).read<SegmentHeader>(0, 1));
    const auto frame = PARLEY_TRY(check(header[0], status.size_bytes));
    inspection = {.uuid = std::bit_cast<std::array<std::byte, 16>>(frame.uuid),
                  .format_version = frame.version,
                  .file_bytes = status.size_bytes,
                  .memory_bytes = status.memory_bytes,
                  .mode = status.mode,
                  .owner = status.owner,
                  .group = status.group,
                  .is_steady = true,
                  .participants_at_most = frame.place_count == 0 ? 0 : frame.place_count - 1,
                  .participants = {},
                  .is_locked_by_the_dead = false,
                  .words_to_store = 0,
                  .what = SharedMemoryInspection{}};
    if (frame.kind == ObjectKind::shared_memory) {
      inspection.what = PARLEY_TRY(look_at_memory(fd, frame));
    } else {
      PARLEY_TRY(Look(fd, frame, lives_hold(header[0], status.inode), inspection).run());
    }
  }
  return inspection;
}

auto inspect(std::string_view name) -> Result<Inspection> {
  const auto path = PARLEY_TRY(os::object_path(name));
  auto fd = PARLEY_TRY(os::open_object(path, os::Access::read_only));
  auto inspection = inspect(os::BorrowedFd(fd));
  os::close_object(std::move(fd));
  return inspection;
}

auto object_directory() -> std::string {
  return os::object_directory();
}

}  // namespace parley
