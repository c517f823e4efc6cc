// What the typed wrappers cost over the bare system calls.
#pragma once

namespace parley::bench {

void os();

}  // namespace parley::bench
