// Tiles of an integer layer, one after the other: sums, by products or by events, and neurons.
#pragma once

#include <cstdint>
#include <variant>

#include "cpu/int_event_lists.h"
#include "cpu/int_lookup_words.h"
#include "cpu/int_run.h"

namespace spikeconv::cpu {

// How sums are made: by products, from events, or looked up.
using IntSums = std::variant<std::monostate, const EventLists*, const LookupWords*>;

// Those of an image's quads and channel blocks, of which the first is a multiple of kBlocks where
// sums are made from events, or else of kPair.
void run_tiles(const IntRun& run, int64_t image, IntRange quads, IntRange blocks,
               IntSums sums = {});

}  // namespace spikeconv::cpu
