#include <parley/space.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "os/directory.hpp"
#include "os/object_file.hpp"
#include "os/small_file.hpp"
#include "space/space_table_state.hpp"

namespace parley {
namespace {

using NamedLimit = SpaceLimits::Named;

constexpr std::uint64_t any = ~std::uint64_t{0};
constexpr std::array limits_by_name{
    NamedLimit{"semmsl", &SpaceLimits::semmsl, 32000},
    NamedLimit{"semmns", &SpaceLimits::semmns, any},
    NamedLimit{"semopm", &SpaceLimits::semopm, 500},
    NamedLimit{"semmni", &SpaceLimits::semmni, shm::space_records_at_most},
    NamedLimit{"msgmax", &SpaceLimits::msgmax, 1U << 30U},
    NamedLimit{"msgmnb", &SpaceLimits::msgmnb, std::uint64_t{1} << 37U},
    NamedLimit{"msgmni", &SpaceLimits::msgmni, shm::space_records_at_most},
    NamedLimit{"shmmax", &SpaceLimits::shmmax, any},
    NamedLimit{"shmall", &SpaceLimits::shmall, any},
    NamedLimit{"shmmni", &SpaceLimits::shmmni, shm::space_records_at_most},
    NamedLimit{"msg_max", &SpaceLimits::msg_max, 1U << 24U},
    NamedLimit{"msgsize_max", &SpaceLimits::msgsize_max, 1U << 30U},
    NamedLimit{"queues_max", &SpaceLimits::queues_max, any},
};

auto text_of(const SpaceLimits& limits) -> std::string {
  std::string text;
  for (const auto& limit : limits_by_name) {
    text += std::string(limit.name) + '=' + std::to_string(limits.*limit.value) + '\n';
  }
  return text;
}

auto read_limits(const std::string& path) -> Result<SpaceLimits> {
  SpaceLimits limits;
  std::array<char, 1024> buffer{};
  const auto text = PARLEY_TRY(os::read_file(path.c_str(), buffer));
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = std::min(text.find('\n', begin), text.size());
    PARLEY_TRY(limits.set(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return limits;
}

constexpr std::array folders{"/sysv-semaphores", "/sysv-messages",    "/sysv-memory",
                             "/posix-queues",    "/posix-semaphores", "/posix-memory"};

}  // namespace

auto SpaceLimits::all() noexcept -> std::span<const Named> {
  return limits_by_name;
}

auto SpaceLimits::set(std::string_view assignment) -> Result<void> {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos) return failure(Error::invalid);
  const auto digits = assignment.substr(equals + 1);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value);
  if (error != std::errc{} || end != digits.end()) return failure(Error::invalid);
  for (const auto& limit : limits_by_name) {
    if (limit.name != assignment.substr(0, equals)) continue;
    if (value > limit.at_most) return failure(Error::out_of_range);
    this->*limit.value = value;
    return {};
  }
  return failure(Error::not_found);
}

Space::Space(std::string path, const SpaceLimits& limits, SpaceTable semaphores,
             SpaceTable messages, SpaceTable memory) noexcept
    : path_(std::move(path)),
      limits_(limits),
      semaphores_(std::move(semaphores)),
      messages_(std::move(messages)),
      memory_(std::move(memory)) {}

auto Space::open_or_create(std::string_view path, const SpaceOptions& options) -> Result<Space> {
  if (path.empty() || path.contains('\0')) return failure(Error::invalid);
  const std::string directory(path);
  PARLEY_TRY(os::make_directory(directory, options.mode));
  for (const auto* folder : folders) {
    PARLEY_TRY(os::make_directory(directory + folder, options.mode));
  }
  const auto limits =
      os::publish_small_file(directory + "/limits", text_of(options.limits), options.mode & 0666U);
  if (!limits && limits.error() != Error::exists) return failure(limits.error());
  return open(path);
}

auto Space::open(std::string_view path) -> Result<Space> {
  const std::string directory(path);
  const auto limits = PARLEY_TRY(read_limits(directory + "/limits"));
  // What everybody in this space may write to.
  const mode_t mode = PARLEY_TRY(os::directory_mode(directory)) & 0666U;
  const auto table = [&](const char* folder, SpaceKind kind) -> Result<SpaceTable> {
    auto file = PARLEY_TRY(TableFile::open_or_create(directory + folder, kind, mode));
    return SpaceTable(std::make_unique<SpaceTable::State>(std::move(file)));
  };
  auto semaphores = PARLEY_TRY(table(folders[0], SpaceKind::semaphores));
  auto messages = PARLEY_TRY(table(folders[1], SpaceKind::messages));
  auto memory = PARLEY_TRY(table(folders[2], SpaceKind::memory));
  return Space(directory, limits, std::move(semaphores), std::move(messages), std::move(memory));
}

auto Space::own_path() -> Result<std::string> {
  return os::object_path("space");
}

auto Space::remove(std::string_view path) -> Result<void> {
  const std::string directory(path);
  PARLEY_TRY(read_limits(directory + "/limits"));  // nothing else is removed
  for (const auto* folder : folders) {
    const auto removed = os::remove_directory(directory + folder);
    // Somebody may have died here before.
    if (!removed && removed.error() != Error::not_found) return removed;
  }
  return os::remove_directory(directory);
}

auto Space::table(SpaceKind kind) noexcept -> SpaceTable& {
  if (kind == SpaceKind::semaphores) return semaphores_;
  return kind == SpaceKind::messages ? messages_ : memory_;
}

}  // namespace parley
