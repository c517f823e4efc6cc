#include "reach.hpp"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <link.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include <parley/error.hpp>
#include <parley/os/descriptor.hpp>

#include "terminal.hpp"

namespace parley::cli {
namespace {

using os::OwnedFd;
using Header = ElfW(Ehdr);
using Segment = ElfW(Phdr);

/// What of a program's file says who loads it.
struct Image {
  unsigned char word_size;
  unsigned char byte_order;
  std::uint16_t machine;
  std::string loader;  ///< Empty: none, the program is static.
};

constexpr std::size_t loader_bytes_at_most = 4096;

/// Reads a structure of the machine's own words.
template <class T>
auto read_at(const OwnedFd& file, std::uint64_t offset) -> std::optional<T> {
  T value;
  const auto read = pread(file.number(), &value, sizeof(value), static_cast<off_t>(offset));
  return read == sizeof(value) ? std::optional(value) : std::nullopt;
}

auto loader_of(const OwnedFd& file, const Header& header) -> std::string {
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    const auto segment =
        read_at<Segment>(file, header.e_phoff + std::uint64_t{i} * header.e_phentsize);
    if (!segment) return {};
    if (segment->p_type != PT_INTERP) continue;
    if (segment->p_filesz > loader_bytes_at_most) return {};
    std::string path(segment->p_filesz, '\0');
    const auto read =
        pread(file.number(), path.data(), path.size(), static_cast<off_t>(segment->p_offset));
    if (read != static_cast<ssize_t>(path.size())) return {};
    path.resize(std::strlen(path.c_str()));
    return path;
  }
  return {};
}

/// Nothing where it is no program.
auto image_of(const OwnedFd& file) -> std::optional<Image> {
  const auto header = read_at<Header>(file, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  return Image{.word_size = header->e_ident[EI_CLASS],
               .byte_order = header->e_ident[EI_DATA],
               .machine = header->e_machine,
               .loader = loader_of(file, *header)};
}

/// The interpreter that the first line of a script names, or nothing.
auto interpreter_of(const OwnedFd& file) -> std::string {
  std::array<char, 256> buffer{};
  const auto read = pread(file.number(), buffer.data(), buffer.size(), 0);
  std::string_view text(buffer.data(), read > 0 ? static_cast<std::size_t>(read) : 0);
  if (!text.starts_with("#!")) return {};
  text = text.substr(2, text.find('\n') - 2);
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  text = text.substr(begin);
  return std::string(text.substr(0, text.find_first_of(" \t")));
}

/// Whether the program gets more rights than this process has, so that its loader trusts nothing
/// that the environment says. As execve(2) of Linux decides it.
auto gets_rights(const OwnedFd& file) -> bool {
  struct stat status{};
  struct statvfs place{};
  if (fstat(file.number(), &status) != 0 || fstatvfs(file.number(), &place) != 0) return false;
  const bool none_are_given =
      (place.f_flag & ST_NOSUID) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
  if (none_are_given) return false;
  constexpr mode_t gives_group = S_ISGID | S_IXGRP;
  if ((status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid()) return true;
  if ((status.st_mode & gives_group) == gives_group && status.st_gid != getegid()) return true;
  return getuid() != 0 && fgetxattr(file.number(), "security.capability", nullptr, 0) > 0;
}

auto file_name(const std::string& path) -> std::string {
  return std::filesystem::path(path).filename().string();
}

auto why_not_loaded(const Image& program) -> std::string {
  const auto own = image_of(OwnedFd::from_number(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)));
  if (!own) return "it cannot be compared with this command, which /proc does not show";
  const bool same_machine = program.word_size == own->word_size &&
                            program.byte_order == own->byte_order &&
                            program.machine == own->machine;
  if (!same_machine) return "it is a program of another architecture";
  if (program.loader.empty()) return "it is linked statically";
  if (file_name(program.loader) == file_name(own->loader)) return {};
  return fmt::format("it belongs to another C library, that of {}", printable(program.loader));
}

}  // namespace

auto find_program(const std::string& name) -> std::string {
  if (name.contains('/')) return name;
  const char* const variable = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe)
  std::string_view path = variable != nullptr ? variable : "/bin:/usr/bin";
  for (;;) {
    const auto colon = path.find(':');
    const std::string directory(path.substr(0, colon));
    auto file = (directory.empty() ? "." : directory) + '/' + name;
    struct stat status{};
    if (access(file.c_str(), X_OK) == 0 && stat(file.c_str(), &status) == 0 &&
        S_ISREG(status.st_mode)) {
      return file;
    }
    if (colon == std::string_view::npos) return {};
    path.remove_prefix(colon + 1);
  }
}

auto why_out_of_reach(const std::string& path) -> std::string {
  constexpr int scripts_at_most = 5;  // as execve(2) has it
  std::string program = path;
  for (int scripts = 0; scripts <= scripts_at_most; ++scripts) {
    const auto file = OwnedFd::from_number(open(program.c_str(), O_RDONLY | O_CLOEXEC));
    const auto of = scripts == 0 ? std::string() : printable(program) + ": ";
    if (!file.is_open()) {
      // Whoever runs it learns that it is not there.
      return errno == EACCES && access(program.c_str(), X_OK) == 0
                 ? of + "it may not be read, so nobody knows how it is loaded"
                 : std::string();
    }
    if (const auto image = image_of(file)) {
      const auto why =
          gets_rights(file) ? "it gets the rights of another user" : why_not_loaded(*image);
      return why.empty() ? why : of + why;
    }
    program = interpreter_of(file);
    if (program.empty()) return {};
  }
  return {};
}

auto find_drop_in() -> std::string {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  // As installed, then as built.
  for (const auto* const place : {PARLEY_COMPAT_INSTALLED, PARLEY_COMPAT_BUILT}) {
    const auto path = std::filesystem::weakly_canonical(own / place, error).string();
    if (access(path.c_str(), R_OK) == 0) return path;
  }
  return {};
}

}  // namespace parley::cli
