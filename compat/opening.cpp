#include <pthread.h>

#include "handles.hpp"

namespace parley::compat {
namespace {

constinit pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;

void lock() {
  pthread_mutex_lock(&opening);
}
void unlock() {
  pthread_mutex_unlock(&opening);
}

}  // namespace

Opening::Opening() noexcept {
  [[maybe_unused]] static const int told = pthread_atfork(lock, unlock, unlock);
  lock();
}

Opening::~Opening() {
  unlock();
}

}  // namespace parley::compat
