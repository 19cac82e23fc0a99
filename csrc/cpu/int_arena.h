// Memory for what passes between the layers of a chain, for as many images as run at once.
#pragma once

#include <c10/core/Allocator.h>

#include <cstdint>
#include <mutex>
#include <vector>

#include "cpu/int_chain.h"

namespace spikeconv::cpu {

// Bytes of a slot for one image, and of all slots of a plan.
int64_t slot_bytes(const IntParts& parts, const IntSlot& slot, int64_t steps);
int64_t slot_bytes(const IntParts& parts, const IntPlan& plan, const IntWordSlot& slot,
                   int64_t steps);
int64_t arena_bytes(const IntParts& parts, const IntPlan& plan, int64_t steps);

// Images whose steps a thread takes in turns, each in an arena of its own: weights that leave the
// caches until the next image comes are then read once for several.
int64_t images_together(const IntParts& parts, const IntPlan& plan, int64_t steps);

// Arenas hold all slots of a plan, one after the other, those of words last, with borders as the
// first plane of each has them. What is given back is kept for the next run.
class IntArenas {
 public:
  c10::DataPtr take(const IntParts& parts, const IntPlan& plan, int64_t steps);
  void give_back(const IntPlan& plan, int64_t steps, c10::DataPtr memory);

 private:
  struct Free {
    const IntPlan* plan;
    int64_t steps;
    c10::DataPtr memory;
  };
  std::mutex mutex_;
  std::vector<Free> free_;
};

}  // namespace spikeconv::cpu
