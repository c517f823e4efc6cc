#ifdef __FreeBSD__
#include <parley/os/confinement.hpp>

#include <sys/capsicum.h>

#include "os/sys.hpp"

namespace parley::os {
namespace {

/// Whether this process is in capability mode already; or why that cannot be.
auto is_confined() -> Result<bool> {
  unsigned mode = 0;
  PARLEY_TRY(sys::call<::cap_getmode>(&mode));
  return mode != 0;
}

}  // namespace

auto Confinement::probe() -> ConfinementReport {
  ConfinementReport report;
  report.landlock_abi = failure(Error::no_such_call);
  const auto confined = is_confined();
  if (!confined) report.missing.fill(confined.error());
  if (confined.value_or(false)) report.missing.fill(Error::not_permitted);
  return report;
}

auto Confinement::enter(ConfinementOptions options) -> Result<ConfinementReport> {
  ConfinementReport report = probe();
  if (const auto why = report.why_not(ConfinementPart::paths)) {
    if (options.require_all) return failure(*why);
    return report;
  }
  PARLEY_TRY(sys::call<::cap_enter>());
  return report;
}

auto limit_rights(BorrowedFd fd, DescriptorRights rights) -> Result<void> {
  cap_rights_t kept;
  cap_rights_init(&kept);
  if (rights.read) cap_rights_set(&kept, CAP_READ);
  if (rights.write) cap_rights_set(&kept, CAP_WRITE);
  if (rights.seek) cap_rights_set(&kept, CAP_SEEK);
  if (rights.map && rights.read) cap_rights_set(&kept, CAP_MMAP_R);
  if (rights.map && rights.write) cap_rights_set(&kept, CAP_MMAP_W);
  if (rights.status) cap_rights_set(&kept, CAP_FSTAT);
  if (rights.resize) cap_rights_set(&kept, CAP_FTRUNCATE);
  if (rights.poll) cap_rights_set(&kept, CAP_EVENT);
  PARLEY_TRY(sys::call<::cap_rights_limit>(fd.number(), &kept));
  return {};
}

}  // namespace parley::os
#endif
