// What Parley's own objects cost beside those of the kernel and of the C library.
#pragma once

namespace parley::bench {

void objects();

}  // namespace parley::bench
