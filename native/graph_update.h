// Takes dead rows out of a graph (FreshDiskANN): whoever links to them links to what lies beyond them instead.
#pragma once
#include "graph_build.h"

namespace nearfield {

// Mends those of some rows that live and link to dead ones. The dead keep their links: the next rows are mended by them.
void mend(const Growing& g, const uint32_t* rows, int64_t count);

}  // namespace nearfield
