// Convolutions that read of each channel only its own: depthwise ones. Included inside the integer
// kernels' .cpp files only, once per instruction set.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// Adds IntDot's channelwise terms for all four pixels of one step and one block.
SPIKECONV_INLINE void add_channelwise(const IntDot& d, int t, int block, Int (&sums)[kPixels]) {
  for (int i = 0; i < d.n_channelwise; ++i) {
    const IntTerm& term = d.channelwise[i];
    const int64_t at = t * term.step + block * kLanes;
    const int8_t* weights = term.weights + block * term.block_bytes;
    for (int64_t run = 0; run < term.n_runs; ++run) {
      const Int w = load(reinterpret_cast<const int32_t*>(weights + run * kLanes * 4));
      SPIKECONV_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        const Int spikes = widen(term.spikes[p] + at + term.runs[run]);
        sums[p] = add_products_16(sums[p], spikes, w);
      }
    }
  }
}

static void dot_channelwise(const IntDot& d) {
  const int width = d.blocks * kLanes;
  for (int t = 0; t < d.steps; ++t) {
    for (int block = 0; block < d.blocks; ++block) {
      int32_t* out = d.out + t * kPixels * width + block * kLanes;
      Int sums[kPixels];
      SPIKECONV_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        sums[p] = d.n_terms > 0 ? load(out + p * width) : zeros();
      }
      add_channelwise(d, t, block, sums);
      SPIKECONV_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        store(out + p * width, sums[p]);
      }
    }
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
