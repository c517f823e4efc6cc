#include "support/posix_name.hpp"

#include <mqueue.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>

namespace parley::test {

PosixName::PosixName() {
  static int count = 0;
  name_ = "/parley-test-" + std::to_string(getpid()) + "-" + std::to_string(++count);
}

PosixName::~PosixName() {
  remove();
}

auto PosixName::remove() const -> bool {
  const bool queue = mq_unlink(name_.c_str()) == 0;
  const bool semaphore = sem_unlink(name_.c_str()) == 0;
  const bool memory = shm_unlink(name_.c_str()) == 0;
  return queue || semaphore || memory;
}

auto mappings_of(const std::string& text) -> int {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find(text) != std::string::npos) ++count;
  }
  return count;
}

}  // namespace parley::test
