#include <doctest/doctest.h>

#include "abi/pages.hpp"
#include "shm/layout/space_table.hpp"

namespace {

using namespace parley::shm;
using namespace parley::test;

auto table_body() -> Layout {
  using Struct = SpaceTableBody;
  return {"SpaceTableBody",
          sizeof(Struct),
          {FIELD(version), FIELD(kind), FIELD(first_free), FIELD(backed_records),
           FIELD(used_records), FIELD(count), FIELD(marked), FIELD(total), FIELD(staged_index),
           FIELD(doomed), FIELD(reserved), FIELD(staged)}};
}

auto record() -> Layout {
  using Struct = SpaceRecord;
  return {"SpaceRecord",
          sizeof(Struct),
          {FIELD(stamp), FIELD(id), FIELD(state), FIELD(key), FIELD(next), FIELD(uid), FIELD(gid),
           FIELD(creator_uid), FIELD(creator_gid), FIELD(mode), FIELD(creator_process), FIELD(size),
           FIELD(changed), FIELD(attached), FIELD(detached), FIELD(last_process), FIELD(reserved)}};
}

}  // namespace

TEST_CASE("the page of the space is the code's layout") {
  compare_structs("space", {table_body(), record()});
  compare_numbers("space", constants,
                  {{"space_table_version", space_table_version},
                   {"space_index_bits", space_index_bits},
                   {"space_records_at_most", space_records_at_most},
                   {"space_sequences", space_sequences},
                   {"space_buckets", space_buckets},
                   {"space_buckets_offset", space_buckets_offset},
                   {"space_records_offset", space_records_offset},
                   {"space_table_bytes", space_table_bytes}});
}
