// Runs an integer layer over some pixels of an image.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/int_layer.h"
#include "cpu/int_plane.h"
#include "cpu/int_sizes.h"
#include "cpu/int_tile.h"

namespace spikeconv::cpu {

// One layer's run. Tables of neurons are dense [B, H, W, K].
struct IntRun {
  const IntKernels& kernels;
  const IntLayer& layer;
  const std::vector<IntSource>& sources;
  const std::vector<IntPlane<uint8_t>>& planes;  // by source; those that the layer reads
  int64_t steps;
  int64_t done;             // steps before
  IntPlane<uint8_t> out{};  // where `emits`
  bool emits = false;
  const int32_t* v_before = nullptr;    // null: v_init
  const int32_t* net_before = nullptr;  // null: 0
  int32_t* v = nullptr;                 // null: not wanted
  int32_t* net = nullptr;
  int32_t* count = nullptr;
  std::vector<int64_t> runs{};  // of all convolutions, one after the other

  // Steps are run in chunks of kTileSteps at most, as equal as they can be: how many, and the first
  // step of each; of the one after the last, all steps.
  int64_t chunks() const { return ceil_div(steps, kTileSteps); }
  int64_t first_step(int64_t chunk) const { return steps * chunk / chunks(); }

  // To be called once everything above is set.
  void prepare();
};

// Pixels are taken four at a time, in the order of rows; a layer's `pixels()` make so many.
inline int64_t quads_of(int64_t pixels) { return ceil_div(pixels, kPixels); }

// The rows of a plane, its borders included, that some rows of outputs read.
inline IntRange rows_read(const IntWindow& window, const IntSource& source, IntRange outputs) {
  const int64_t begin = source.above - window.above;
  return {outputs.first * window.stride_y + begin,
          (outputs.last - 1) * window.stride_y + begin + window.extent_y()};
}

// Some quads of an image, for some channel blocks.
void run_layer(const IntRun& run, int64_t image, IntRange quads, IntRange blocks);

}  // namespace spikeconv::cpu
