// Whether the drop-in reaches a program: it is put before the C library by the program's loader.
#pragma once

#include <string>

namespace parley::cli {

/// The file that execvp(3) would run, or nothing.
auto find_program(const std::string& name) -> std::string;

/// Why the drop-in would not be in that program, or in the interpreter of that script; empty where
/// it would be, and where the file is no program at all.
auto why_out_of_reach(const std::string& path) -> std::string;

/// The drop-in that belongs to this command; nothing where it is not there.
auto find_drop_in() -> std::string;

}  // namespace parley::cli
