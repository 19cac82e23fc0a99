// Consecutive layers, pools and encoders of a program, run image by image: what passes between them
// stays in a core's cache, and needs memory for a few images only, however large the batch.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/int_encoder.h"
#include "cpu/int_layer.h"
#include "cpu/int_pool.h"
#include "cpu/int_tile.h"

namespace spikeconv::cpu {

struct IntStep {
  enum class Kind { kLayer, kPool, kEncoder };
  Kind kind;
  int64_t index;
};

// What a program consists of.
struct IntParts {
  IntKernels kernels;
  std::vector<IntSource> sources;
  std::vector<IntLayer> layers;
  std::vector<IntPool> pools;
  std::vector<IntEncoder> encoders;
};

// Sources that a step reads, and the one that it writes; -1 for none.
std::vector<int64_t> reads(const IntParts& parts, const IntStep& step);
int64_t writes(const IntParts& parts, const IntStep& step);

// Memory for one plane after another. Planes of one format keep their borders from image to image;
// where formats take turns, borders are written again at each turn.
struct IntSlot {
  std::vector<int64_t> sources;  // in the order in which they lie there

  // Bytes of the largest plane, with one image.
  int64_t plane_bytes(const std::vector<IntSource>& all, int64_t steps) const;
};

// Where the planes of a chain's sources lie: with all images, handed in, or one image at a time in
// a slot.
struct IntChain {
  std::vector<IntStep> steps;
  std::vector<int64_t> given;   // sources that are read and no step writes
  std::vector<int64_t> wanted;  // sources that are written for others
  std::vector<char> counts;     // by step, whether its count is wanted
  std::vector<IntSlot> slots;
  std::vector<char> borders;  // by source, whether its borders are to be written for each image
};

IntChain make_int_chain(const IntParts& parts, std::vector<IntStep> steps,
                        std::vector<int64_t> wanted, std::vector<char> counts);

}  // namespace spikeconv::cpu
