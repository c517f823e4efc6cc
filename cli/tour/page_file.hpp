// The file that a page is written to in the end, opened at the beginning: trouble shows at once.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include <parley/error.hpp>
#include <parley/os/descriptor.hpp>

#include "tour/original.hpp"

namespace parley::cli {

/// What is there before stays until `write`. A file that was made for nothing is removed again.
class PageFile {
 public:
  /// Never the original itself. The error says in words why not.
  static auto open(const std::string& path, const Original& original)
      -> std::expected<PageFile, std::string>;

  PageFile(PageFile&& other) noexcept
      : fd_(std::move(other.fd_)),
        path_(std::move(other.path_)),
        is_new_(std::exchange(other.is_new_, false)) {}
  PageFile(const PageFile&) = delete;
  auto operator=(const PageFile&) -> PageFile& = delete;
  auto operator=(PageFile&&) -> PageFile& = delete;
  ~PageFile();

  auto write(std::string_view page) -> Result<void>;

 private:
  PageFile(os::OwnedFd fd, std::string path, bool is_new)
      : fd_(std::move(fd)), path_(std::move(path)), is_new_(is_new) {}

  os::OwnedFd fd_;
  std::string path_;
  bool is_new_;
};

}  // namespace parley::cli
