// What mq_notify(3) of this process has registered.
//
// A registration is a listener of the queue (MessageQueue::listen), so that it ends with this
// process however that ends. A thread waits for its message, and tells: it raises the signal, or
// starts the program's function. Where the sender is a thread of this process, it raises the signal
// itself, so that it is there when mq_send(3) returns, as it is on Linux.
#pragma once

#include <csignal>

#include "queue_descriptors.hpp"

namespace parley::compat {

/// `busy` where somebody is registered, `would_block` where no thread can be had.
auto add_registration(mqd_t number, OpenQueue& open, const sigevent& event) -> Result<void>;

/// Takes away what this process has registered at that queue, which may be nothing.
void remove_registration(FileNumbers file);

/// Takes away what is registered at descriptors that the program closed by close(2).
void remove_stale_registrations();

/// In a thread that has just sent something: tells the process itself what was registered there.
void tell_registered(OpenQueue& open);

}  // namespace parley::compat
