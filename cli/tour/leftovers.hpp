// What a mechanism leaves in the system, to be undone once, whatever happens in between.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <parley/error.hpp>

namespace parley::cli {

/// "/parley-tour-" and 16 random digits: for POSIX objects.
auto unused_name() -> std::string;

/// Belongs to the supervising process alone, which takes signals only while it waits: what is made
/// and then registered cannot be missed.
class Leftovers {
 public:
  Leftovers() = default;
  Leftovers(const Leftovers&) = delete;
  auto operator=(const Leftovers&) -> Leftovers& = delete;
  ~Leftovers() {
    undo_names();
    undo(objects_);
  }

  using Removal = std::function<Result<void>()>;

  /// A name or a path: goes as soon as both processes hold what it stands for.
  void add_name(Removal remove) { names_.push_back(std::move(remove)); }

  /// An object that ends with its removal: goes when the mechanism has been toured.
  void add_object(Removal remove) { objects_.push_back(std::move(remove)); }

  /// A new directory of our own, private, which goes like a name, with all that is in it.
  auto make_directory() -> Result<std::string>;

  /// The last made goes first.
  void undo_names() { undo(names_); }

 private:
  static void undo(std::vector<Removal>& removals);

  std::vector<Removal> names_;
  std::vector<Removal> objects_;
};

}  // namespace parley::cli
