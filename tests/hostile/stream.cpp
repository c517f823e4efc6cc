#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include <parley/stream.hpp>

#include "hostile/objects.hpp"
#include "shm/layout/stream.hpp"

namespace parley::test {
namespace {

using namespace std::chrono_literals;

/// Bytes and nobody at the ends; a participant that died holding both, and the latch.
auto stream_images() -> std::vector<Image> {
  auto stream = Stream::create({.capacity_bytes = 4096, .participants = 3}).value();
  auto writer = stream.writer().value();
  static_cast<void>(writer.write(std::vector<std::byte>(5000), Deadline::now()));
  auto reader = stream.reader().value();
  std::vector<std::byte> into(2000);
  static_cast<void>(reader.read(into, Deadline::now()));
  const auto held = image_of(stream.descriptor());
  writer.hand_over();
  reader.hand_over();
  return {image_of(stream.descriptor()), with_a_dead_holder(held)};
}

void write_and_read(StreamWriter& writer, StreamReader& reader, Victim& victim) {
  std::vector<std::byte> bytes(3000, std::byte{7});
  const std::array<iovec, 2> areas{
      {{.iov_base = bytes.data(), .iov_len = 1000}, {.iov_base = &bytes[1000], .iov_len = 2000}}};
  const auto call = [&](const char* name, auto with_deadline) {
    const auto deadline = Deadline::after(20us);
    victim.call(name, deadline, [&] { return with_deadline(deadline); });
    if (!victim.is_patient()) return;
    victim.call(name, [&] { return with_deadline(Deadline::now()); });
  };
  call("write", [&](Deadline deadline) { return writer.write(bytes, deadline); });
  call("write_some", [&](Deadline deadline) { return writer.write_some(areas, deadline); });
  call("reserve", [&](Deadline deadline) -> Result<void> {
    const auto room = PARLEY_TRY(writer.reserve(10, deadline));
    std::ranges::fill(room, std::byte{1});
    return {};
  });
  call("wait_for_reader", [&](Deadline deadline) { return writer.wait_for_reader(deadline); });
  call("read", [&](Deadline deadline) { return reader.read(areas, deadline); });
  call("read_all", [&](Deadline deadline) { return reader.read_all(bytes, deadline); });
  call("peek", [&](Deadline deadline) -> Result<void> {
    const auto there = PARLEY_TRY(reader.peek(10, deadline));
    static_cast<void>(std::ranges::count(there, std::byte{7}));
    return {};
  });
  call("wait_for_writer", [&](Deadline deadline) { return reader.wait_for_writer(deadline); });
  if (victim.is_patient()) {
    victim.call("commit", [&] { return writer.commit(10); });
    victim.call("consume", [&] { return reader.consume(10); });
  }
  static_cast<void>(writer.bytes_waiting());
}

void exercise_stream(os::OwnedFd fd, Victim& victim, bool claims_first) {
  auto adopted = victim.adopt([&] { return Stream::adopt(std::move(fd)); });
  if (!adopted) return;
  auto& stream = *adopted;
  std::optional<StreamWriter> writer;
  std::optional<StreamReader> reader;
  const auto claim = [&] {
    victim.call("writer", [&]() -> Result<void> {
      writer = PARLEY_TRY(stream.writer());
      return {};
    });
    victim.call("reader", [&]() -> Result<void> {
      reader = PARLEY_TRY(stream.reader());
      return {};
    });
  };
  if (claims_first) claim();
  victim.is_attached();
  if (!claims_first && victim.is_patient()) claim();
  if (writer && reader) {
    for (const auto strategy : {WaitStrategy::block, WaitStrategy::spin}) {
      writer->set_wait_strategy(strategy);
      reader->set_wait_strategy(strategy);
      write_and_read(*writer, *reader, victim);
    }
  }
  if (victim.is_patient()) victim.call("status", [&] { return stream.status(); });
  victim.call("destroy", [&]() -> Result<void> {
    writer.reset();
    reader.reset();
    const auto gone = std::move(stream);
    return {};
  });
}

auto stream(const char* name, bool claims_first) -> Target {
  return {name, stream_images,
          [claims_first](os::OwnedFd fd, Victim& victim) {
            exercise_stream(std::move(fd), victim, claims_first);
          },
          sizeof(shm::StreamBody) + sizeof(shm::StreamRing)};
}

}  // namespace

auto stream_with_free_ends() -> Target {
  return stream("stream with free ends", false);
}

auto stream_with_held_ends() -> Target {
  return stream("stream with held ends", true);
}

}  // namespace parley::test
