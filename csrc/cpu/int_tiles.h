// Tiles of an integer layer, one after the other: sums, by products or by events, and neurons.
#pragma once

#include <cstdint>

#include "cpu/int_event_lists.h"
#include "cpu/int_run.h"

namespace spikeconv::cpu {

// Those of an image's quads and channel blocks. The first block is a multiple of kBlocks where sums
// are made from events, which are null otherwise, or else of kPair.
void run_tiles(const IntRun& run, int64_t image, IntRange quads, IntRange blocks,
               const EventLists* events);

}  // namespace spikeconv::cpu
