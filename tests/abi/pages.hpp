// The tables of docs/formats, to be compared with the code's layouts.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

// One field of the struct that is being described.
#define FIELD(name) {#name, offsetof(Struct, name), sizeof(Struct::name)}

namespace parley::test {

struct Field {
  std::string name;
  std::size_t offset;
  std::size_t size;

  auto operator==(const Field&) const -> bool = default;
};

struct Layout {
  std::string name;
  std::size_t size;
  std::vector<Field> fields;
};

using Row = std::vector<std::string>;
using Numbers = std::map<std::string, std::uint64_t>;

/// A page of docs/formats, as its lines.
inline auto page(const std::string& name) -> std::vector<std::string> {
  std::ifstream file(std::string(PARLEY_FORMATS) + "/" + name + ".md");
  REQUIRE(file.is_open());
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

/// The cells of a table's line, without the spaces and backticks around them.
inline auto cells(const std::string& line) -> Row {
  Row row;
  for (std::size_t from = 1; from < line.size();) {
    const auto to = line.find('|', from);
    std::string cell = line.substr(from, to - from);
    std::erase_if(cell, [](char c) { return c == '`'; });
    const auto first = cell.find_first_not_of(' ');
    const auto last = cell.find_last_not_of(' ');
    row.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
    from = to + 1;
  }
  return row;
}

/// The rows of the tables that begin with `head`, from a line on and before the next heading.
inline auto rows(const std::vector<std::string>& lines, std::size_t from, const std::string& head)
    -> std::vector<Row> {
  std::vector<Row> found;
  for (std::size_t at = from; at < lines.size() && !lines[at].starts_with("##"); ++at) {
    if (!lines[at].starts_with(head)) continue;
    for (at += 2; at < lines.size() && lines[at].starts_with("|"); ++at) {
      found.push_back(cells(lines[at]));
    }
  }
  return found;
}

inline auto rows_of_page(const std::vector<std::string>& lines, const std::string& head)
    -> std::vector<Row> {
  std::vector<Row> found = rows(lines, 0, head);
  for (std::size_t at = 0; at < lines.size(); ++at) {
    if (!lines[at].starts_with("##")) continue;
    std::ranges::move(rows(lines, at + 1, head), std::back_inserter(found));
  }
  return found;
}

inline auto fields_on(const std::vector<std::string>& lines, const Layout& layout)
    -> std::vector<Field> {
  const auto heading = "## `" + layout.name + "`: " + std::to_string(layout.size) + " bytes";
  const auto at = std::ranges::find(lines, heading);
  CAPTURE(heading);
  REQUIRE(at != lines.end());
  std::vector<Field> fields;
  const auto begin = static_cast<std::size_t>(at - lines.begin()) + 1;
  for (const Row& row : rows(lines, begin, "| offset | size | field |")) {
    CHECK_FALSE(row.at(3).empty());
    fields.push_back({row.at(2), std::stoull(row.at(0)), std::stoull(row.at(1))});
  }
  return fields;
}

/// The page's structs are these, field by field, and the fields leave no gap.
inline void compare_structs(const std::string& name, const std::vector<Layout>& layouts) {
  CAPTURE(name);
  const auto lines = page(name);
  for (const Layout& layout : layouts) {
    CAPTURE(layout.name);
    const auto told = fields_on(lines, layout);
    CHECK(told.size() == layout.fields.size());
    std::size_t end = 0;
    for (std::size_t i = 0; i < std::min(told.size(), layout.fields.size()); ++i) {
      const Field& field = layout.fields[i];
      CAPTURE(field.name);
      CHECK(told[i].name == field.name);
      CHECK(told[i].offset == field.offset);
      CHECK(told[i].size == field.size);
      CHECK(field.offset == end);
      end = field.offset + field.size;
    }
    CHECK(end == layout.size);
  }
  const auto structs =
      std::ranges::count_if(lines, [](const auto& line) { return line.starts_with("## `"); });
  CHECK(static_cast<std::size_t>(structs) == layouts.size());
}

inline void compare_numbers(const std::string& name, const std::string& head,
                            const Numbers& numbers) {
  CAPTURE(name);
  Numbers told;
  for (const Row& row : rows_of_page(page(name), head)) {
    told[row.at(0)] = std::stoull(row.at(1), nullptr, 0);
  }
  CHECK(told == numbers);
}

inline constexpr auto constants = "| constant | value |";

/// All values of an enumeration that have a name, up to a number that none reaches.
template <class Enumeration, class NameOf>
void add_names(Numbers& numbers, NameOf name_of) {
  for (std::uint32_t value = 0; value < 1024; ++value) {
    const auto name = name_of(static_cast<Enumeration>(value));
    if (!name.empty()) numbers[name] = value;
  }
}

}  // namespace parley::test
