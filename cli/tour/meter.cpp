#include "tour/meter.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "tour/quantities.hpp"

namespace parley::cli {
namespace {

constexpr std::string_view erase_line = "\r\x1b[K";
constexpr std::size_t bar_columns = 20;

void write_error(std::string_view text) {
  // Decoration: where it cannot be written, nothing is missing.
  [[maybe_unused]] const auto count = write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

void Meter::begin(std::string_view step) {
  step_ = step;
  ++step_number_;
  drawn_percent_ = -1;
  draw(0);
}

void Meter::show(std::uint64_t done_bytes, std::uint64_t all_bytes) {
  draw(static_cast<double>(done_bytes) / static_cast<double>(all_bytes));
}

void Meter::clear() {
  if (drawn_percent_ >= 0) write_error(erase_line);
  drawn_percent_ = -1;
}

void Meter::draw(double share) {
  const int percent = static_cast<int>(share * 100);
  if (!terminal_.is_terminal || percent == drawn_percent_) return;
  drawn_percent_ = percent;
  auto line = fmt::format("{:>2}/{}  {:<26} {} {:>3}%", step_number_, step_count_, step_,
                          bar(share, bar_columns, terminal_.has_unicode), percent);
  // A line that wraps could not be erased. The bar's characters take several bytes each, so what is
  // cut is the whole of it.
  const auto columns = static_cast<std::size_t>(terminal_.columns);
  if (columns < 60) {
    line = fmt::format("{:>2}/{} {:>3}%  {}", step_number_, step_count_, percent, step_);
    line.resize(std::min(line.size(), columns - 1));
  }
  write_error(std::string(erase_line) + line);
}

}  // namespace parley::cli
