// What a SpaceTable is made of.
#pragma once

#include "space/table_file.hpp"

namespace parley {

class SpaceTable::State {
 public:
  TableFile file;
};

}  // namespace parley
