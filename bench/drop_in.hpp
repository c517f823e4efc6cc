// What unmodified programs gain by the drop-in.
#pragma once

namespace parley::bench {

void drop_in();

}  // namespace parley::bench
