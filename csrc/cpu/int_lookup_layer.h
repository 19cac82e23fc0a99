// What a layer reads of words, tap by tap: worked out once, for every run.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/int_layer.h"
#include "cpu/int_words.h"

namespace spikeconv::cpu {

// A convolution. Taps that read no pixel of any group are left out.
struct IntLookupWindow {
  struct Tap {
    int64_t y, x;  // the pixel that the first position reads, which may lie outside
    int64_t table;
  };
  IntWordForm form;
  std::vector<Tap> taps;
  std::vector<uint32_t> edges;  // IntLookupTerm's, [groups][taps]
  at::Tensor inside;            // likewise, int16 [rows][kPositions]
  // Of each byte of the weights, from the lowest on: [blocks][kh * kw][C / 16][16][table_bytes].
  std::vector<at::Tensor> tables;
};

struct IntLookupJump {
  IntWordForm form;
  int64_t channel, channels;  // IntShortcutTerm's
  at::Tensor coefficient;     // int32 [blocks * 16]
};

// Positions are the layer's pixels at a pitch, and what lies between two rows is computed too.
struct IntLookupLayer {
  int64_t pitch = 0, groups = 0;
  int passes = 0;  // bytes of weights
  std::vector<IntLookupWindow> windows;
  std::vector<IntLookupJump> jumps;
};

// None where a layer's sums cannot be looked up, or others are faster: that takes spikes of 0 and 1
// which all channels read, sums of 16 bits, neurons of one sign whose tables differ
// by channel only, and tables that stay in the second cache.
std::optional<IntLookupLayer> make_lookup_layer(const std::vector<IntSource>& sources,
                                                const IntLayer& layer,
                                                const std::vector<at::Tensor>& weights,
                                                const IntLookupKernels& kernels);

}  // namespace spikeconv::cpu
