// One step of a chain with everything in its place, to be run on one image after another.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "cpu/int_worker.h"

namespace spikeconv::cpu {

// In units that threads can share: quads of pixels, groups of positions, or rows; of a layer with
// few pixels once for each of some shares of its channels.
struct IntStepRun {
  int64_t units, unit_cost;  // in products of a byte and a weight
  std::function<void(int64_t image, int64_t first, int64_t last)> run;
};

// Planes of bytes by source and of words by the plan's number, which stay where they are.
IntStepRun make_step_run(const IntChainCall& call, const IntStep& step,
                         const std::vector<IntPlane<uint8_t>>& planes,
                         const std::vector<IntWordPlane>& words);

}  // namespace spikeconv::cpu
