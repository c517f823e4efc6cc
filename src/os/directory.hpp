// Directories that hold objects.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include <parley/error.hpp>

namespace parley::os {

/// Makes it where it is missing, with that mode whatever the umask. `invalid` for what is none.
auto make_directory(const std::string& path, mode_t mode) -> Result<void>;

/// Its permissions.
auto directory_mode(const std::string& path) -> Result<mode_t>;

/// With the files in it; others may come and remove them at the same time. Fails where there are
/// directories in it.
auto remove_directory(const std::string& path) -> Result<void>;

/// A new small file that is whole when it gets its name. `exists` if that is taken.
auto publish_small_file(const std::string& path, std::string_view text, mode_t mode)
    -> Result<void>;

}  // namespace parley::os
