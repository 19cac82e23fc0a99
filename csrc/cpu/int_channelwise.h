// Convolutions that read of each channel only its own: depthwise ones. Included inside the integer
// kernels' .cpp files only, once per instruction set.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// One term of some steps. Spikes have 8 bits; where weights have 16, both are halves of pairs.
template <bool kWide, int kSteps>
SPIKECONV_INLINE void add_channelwise(const IntTerm& term, int first, int block,
                                      Int (&sums)[kSteps][kPixels]) {
  const auto* weights = reinterpret_cast<const int32_t*>(term.weights + block * term.block_bytes);
  for (int64_t run = 0; run < term.n_runs; ++run) {
    const Int w = load(weights + run * kLanes);
    SPIKECONV_UNROLL_ALL
    for (int j = 0; j < kSteps * kPixels; ++j) {
      const int64_t at = term.runs[run] + (first + j / kPixels) * term.step + block * kLanes;
      const Int s = widen(term.spikes[j % kPixels] + at);
      Int& sum = sums[j / kPixels][j % kPixels];
      sum = kWide ? add(sum, multiply(s, w)) : add_pairs(sum, s, w);
    }
  }
}

// Some steps of all four pixels and one block: weights are loaded once for all of them.
template <int kSteps>
SPIKECONV_INLINE void dot_channelwise_steps(const IntDot& d, int first, int block) {
  const int width = d.blocks * kLanes;
  int32_t* out = d.out + first * kPixels * width + block * kLanes;
  Int sums[kSteps][kPixels];
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < kSteps * kPixels; ++i) {
    sums[i / kPixels][i % kPixels] = d.n_terms > 0 ? load(out + i * width) : zeros();
  }
  for (int i = 0; i < d.n_channelwise; ++i) {
    const IntTerm term = d.channelwise[i];
    if (term.wide) {
      add_channelwise<true>(term, first, block, sums);
    } else {
      add_channelwise<false>(term, first, block, sums);
    }
  }
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < kSteps * kPixels; ++i) {
    store(out + i * width, sums[i / kPixels][i % kPixels]);
  }
}

static void dot_channelwise(const IntDot& d) {
  constexpr int kSteps = SPIKECONV_LANES == kLanes ? 4 : 1;  // as many as registers hold
  for (int block = 0; block < d.blocks; ++block) {
    int t = 0;
    for (; t + kSteps <= d.steps; t += kSteps) {
      dot_channelwise_steps<kSteps>(d, t, block);
    }
    for (; t < d.steps; ++t) {
      dot_channelwise_steps<1>(d, t, block);
    }
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
