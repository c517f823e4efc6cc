// Streams against the bare ways of moving bytes between two cores.
#pragma once

namespace parley::bench {

void streams();

}  // namespace parley::bench
