// What a MessageQueue costs beside the kernel's queues.
#pragma once

namespace parley::bench {

void message_queues();

}  // namespace parley::bench
