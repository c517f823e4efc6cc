// Space: a directory in which System V and POSIX objects live, apart from the kernel's own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <parley/error.hpp>

namespace parley {

/// The kinds that have keys and ids.
enum class SpaceKind : std::uint32_t { semaphores = 1, messages = 2, memory = 3 };

/// What sysctl(8) sets for the kernel's own objects, under the names of proc(5); chosen when a
/// space is made. As they stand: Linux's.
struct SpaceLimits {
  std::uint64_t semmsl = 32000;  ///< Semaphores of a set; at most 32000.
  std::uint64_t semmns = 1'024'000'000;
  std::uint64_t semopm = 500;  ///< Operations of a call; at most 500.
  std::uint64_t semmni = 32000;
  std::uint64_t msgmax = 8192;   ///< Bytes of a message; at most 2^30.
  std::uint64_t msgmnb = 16384;  ///< Bytes of a queue, where nobody with privilege sets more.
  std::uint64_t msgmni = 32000;
  std::uint64_t shmmax = ~std::uint64_t{0} - (1U << 24U);
  std::uint64_t shmall = ~std::uint64_t{0} - (1U << 24U);  ///< Pages.
  std::uint64_t shmmni = 4096;
  std::uint64_t msg_max = 65536;  ///< Messages of a POSIX queue; Linux lets few users have 10 more.
  std::uint64_t msgsize_max = 1U << 24U;
  std::uint64_t queues_max = 32000;

  /// Sets one, given as `name=value`. `invalid` for anything else, `not_found` for an unknown name,
  /// `out_of_range` for a value that the objects cannot keep.
  auto set(std::string_view assignment) -> Result<void>;

  /// A limit by its name, and what it may be at most.
  struct Named;
  static auto all() noexcept -> std::span<const Named>;

  auto operator==(const SpaceLimits&) const -> bool = default;
};

struct SpaceLimits::Named {
  std::string_view name;
  std::uint64_t SpaceLimits::* value;
  std::uint64_t at_most;
};

/// Who asks: judged by the first that fits of owner, group and other; the privileged may all.
struct SpaceUser {
  uid_t uid;
  gid_t gid;
  std::span<const gid_t> groups;  ///< Supplementary ones.
  bool is_privileged = false;     ///< CAP_IPC_OWNER and CAP_SYS_ADMIN.
};

/// What the table of a kind knows of an object.
struct SpaceEntry {
  int id = 0;
  key_t key = 0;  ///< IPC_PRIVATE: none.
  uid_t uid = 0;
  gid_t gid = 0;
  uid_t creator_uid = 0;
  gid_t creator_gid = 0;
  mode_t mode = 0;            ///< Nine bits; and 02000 of memory that is told to be locked.
  bool is_marked = false;     ///< Removed, but still in use. Only memory.
  std::uint64_t size = 0;     ///< Semaphores; bytes that a queue may hold; bytes of memory.
  std::int64_t changed = 0;   ///< Seconds since 1970: creation, or IPC_SET.
  std::int64_t attached = 0;  ///< Of memory, as below; 0: never.
  std::int64_t detached = 0;
  pid_t creator_process = 0;
  pid_t last_process = 0;
  std::uint64_t stamp = 0;  ///< Another one after each change.

  /// Whether that user has these permissions, given as a mode: those of any of its three digits
  /// are asked for. As ipcperms() of Linux.
  [[nodiscard]] auto lets(const SpaceUser& user, mode_t wanted) const -> bool;
  /// Whether that user may change or remove it: its owner, its creator, or the privileged.
  [[nodiscard]] auto is_of(const SpaceUser& user) const -> bool;
};

struct SpaceTableStatus {
  std::size_t count;    ///< Of objects.
  std::size_t marked;   ///< Of those that are removed, but still in use.
  std::uint64_t total;  ///< Of their sizes.
  int highest_index;    ///< -1 without any.
};

/// The objects of one kind in a space: their keys, ids and permissions. The objects themselves are
/// files beside the table. A process that dies at any point of a call leaves it done, or undone, or
/// to be finished by the next who changes the table.
///
/// Any number of threads and processes may use a table at the same time.
class SpaceTable {
 public:
  struct Wish {
    key_t key;
    int flags;  ///< IPC_CREAT, IPC_EXCL and a mode.
    std::uint64_t size;
    std::uint64_t objects_at_most;
    std::uint64_t total_at_most;
    pid_t process;
  };
  using Check = std::function<Result<void>(const SpaceEntry&)>;
  using Make = std::function<Result<void>(const SpaceEntry&, const std::string& path)>;

  /// The id of the object with that key, or of a new one, as semget(2), msgget(2) and shmget(2)
  /// say: `not_found`, `exists`, `access_denied`, `no_space` over a limit. An existing one is
  /// checked by `check` first, a new one made by `make`, at that path.
  auto get(const Wish& wish, const SpaceUser& user, const Check& check, const Make& make)
      -> Result<int>;

  /// `invalid` where there is none of that id, or at that index.
  [[nodiscard]] auto find(int id) const -> Result<SpaceEntry>;
  [[nodiscard]] auto at(int index) const -> Result<SpaceEntry>;

  /// How often the object was changed, while it is the one of that id: as `find`, at the cost of
  /// two loads. Nothing once it is another's.
  [[nodiscard]] auto stamp(int id) const noexcept -> std::optional<std::uint64_t>;

  /// Changes what stands there of an object, all at once; `change` says what, or refuses. The id
  /// and what the object was made with stay as they are.
  auto change(int id, const std::function<Result<void>(SpaceEntry&)>& change) -> Result<void>;

  /// Ends an object for all who use it, once `check` has nothing against it.
  auto remove(int id, const Check& check) -> Result<void>;

  [[nodiscard]] auto status() const -> SpaceTableStatus;

  /// Where the object's file is.
  [[nodiscard]] auto path_of(int id) const -> std::string;

  SpaceTable(SpaceTable&&) noexcept;
  auto operator=(SpaceTable&&) noexcept -> SpaceTable&;
  SpaceTable(const SpaceTable&) = delete;
  auto operator=(const SpaceTable&) -> SpaceTable& = delete;
  ~SpaceTable();

 private:
  friend class Space;
  class State;
  explicit SpaceTable(std::unique_ptr<State> state) noexcept;

  std::unique_ptr<State> state_;
};

struct SpaceOptions {
  SpaceLimits limits = {};
  mode_t mode = 0700;  ///< Of its directory, as it is: no umask is applied.
};

/// A directory that stands for a namespace of System V and POSIX IPC. Who may use it: whom its
/// permissions let in; 0700 keeps others out, 01777 lets everybody in.
class Space {
 public:
  /// Makes what is missing of it: the directory, too, but not the one that it is in. Options matter
  /// for a new one only.
  static auto open_or_create(std::string_view path, const SpaceOptions& options = {})
      -> Result<Space>;
  /// `not_found` where there is none.
  static auto open(std::string_view path) -> Result<Space>;
  /// Where the space of a user is who has named no other: `space` among the objects with bare
  /// names.
  static auto own_path() -> Result<std::string>;
  /// Removes the directory with all that is in it; who has an object open goes on.
  static auto remove(std::string_view path) -> Result<void>;

  [[nodiscard]] auto path() const noexcept -> const std::string& { return path_; }
  [[nodiscard]] auto limits() const noexcept -> const SpaceLimits& { return limits_; }
  [[nodiscard]] auto table(SpaceKind kind) noexcept -> SpaceTable&;

  // Where POSIX objects are, each a file of the name that it has without its slash.
  [[nodiscard]] auto posix_queues() const -> std::string { return path_ + "/posix-queues/"; }
  [[nodiscard]] auto posix_semaphores() const -> std::string {
    return path_ + "/posix-semaphores/";
  }
  [[nodiscard]] auto posix_memory() const -> std::string { return path_ + "/posix-memory/"; }

 private:
  Space(std::string path, const SpaceLimits& limits, SpaceTable semaphores, SpaceTable messages,
        SpaceTable memory) noexcept;

  std::string path_;
  SpaceLimits limits_;
  SpaceTable semaphores_;
  SpaceTable messages_;
  SpaceTable memory_;
};

}  // namespace parley
