// The neurons of a tile, over its steps: IntScan of int_tile.h. Included inside the integer
// kernels' .cpp files only, once per instruction set.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// How many shortcuts a kernel is compiled for.
enum class Shortcuts { kNone, kOne, kMany };

// Pixels whose membranes and biases fit into registers together.
constexpr int kScanned = SPIKECONV_LANES * kPixels / kLanes;

// One block of channels of the pixels from `first_pixel` on, whose membranes do not wait for each
// other.
template <bool kSigned, bool kCounts, Shortcuts kShortcuts>
SPIKECONV_INLINE void scan_block(const IntScan& s, int block, int first_pixel) {
  const int at = block * kLanes;
  const int width = s.blocks * kLanes;
  const int steps = s.steps, shift = s.shift;
  const Int theta = load(s.theta + at), below = minus_one(theta);
  Int v[kScanned], net[kScanned], bias[kScanned];
  uint8_t* out[kScanned];
  const uint8_t* jumped[kScanned] = {};
  const bool emits = s.out[0] != nullptr;
  SPIKECONV_UNROLL
  for (int p = 0; p < kScanned; ++p) {
    v[p] = load(s.v_before[first_pixel + p] + at);
    net[p] = kCounts && s.net_before != nullptr
                 ? load(s.net_before + (first_pixel + p) * width + at)
                 : zeros();
    bias[p] = load(s.bias[first_pixel + p] + at);
    out[p] = emits ? s.out[first_pixel + p] + at : nullptr;
  }
  Int coefficient{};
  int64_t jump_step = 0;
  if constexpr (kShortcuts == Shortcuts::kOne) {
    coefficient = load(s.shortcuts[0].coefficient + at);
    jump_step = s.shortcuts[0].step;
    SPIKECONV_UNROLL
    for (int p = 0; p < kScanned; ++p) {
      jumped[p] = s.shortcuts[0].spikes[first_pixel + p] + at;
    }
  }
  const int32_t* acc = s.acc + first_pixel * width + at;
  const int64_t out_step = s.out_step;
  for (int t = 0; t < steps; ++t) {
    if (t > 0 && t <= s.last_bias) {  // mostly a bias has one row, and then stays in registers
      SPIKECONV_UNROLL
      for (int p = 0; p < kScanned; ++p) {
        bias[p] = load(s.bias[first_pixel + p] + t * s.bias_step + at);
      }
    }
    SPIKECONV_UNROLL
    for (int p = 0; p < kScanned; ++p) {
      Int m = add(shift_left(load(acc + p * width), shift), bias[p]);
      if constexpr (kShortcuts == Shortcuts::kOne) {
        m = add(m, multiply(coefficient, widen(jumped[p])));
        jumped[p] += jump_step;
      } else if constexpr (kShortcuts == Shortcuts::kMany) {
        for (int i = 0; i < s.n_shortcuts; ++i) {
          const IntShortcut& shortcut = s.shortcuts[i];
          const Int spikes = widen(shortcut.spikes[first_pixel + p] + t * shortcut.step + at);
          m = add(m, multiply(load(shortcut.coefficient + at), spikes));
        }
      }
      m = add(first(m), v[p]);  // so that a membrane waits for one addition only
      const Mask plus = above(m, below);
      Mask minus{};
      v[p] = subtract_where(plus, m, theta);
      if constexpr (kSigned) {
        minus = below_zero_and_above(m, net[p]);
        v[p] = add_where(minus, v[p], theta);
        net[p] = decrement_where(minus, net[p]);
      }
      if constexpr (kCounts) {
        net[p] = increment_where(plus, net[p]);
      }
      if (emits) {
        store_spikes<kSigned>(out[p], plus, minus, s.channels - at);
        out[p] += out_step;
      }
    }
    acc += kPixels * width;
  }
  SPIKECONV_UNROLL
  for (int p = 0; p < kScanned; ++p) {
    if (s.v != nullptr) {
      store(s.v + (first_pixel + p) * width + at, v[p]);
    }
    if (kCounts && s.net != nullptr) {
      store(s.net + (first_pixel + p) * width + at, net[p]);
    }
  }
}

template <bool kSigned, bool kCounts, Shortcuts kShortcuts>
SPIKECONV_INLINE void scan_blocks(const IntScan& given) {
  const IntScan s = given;  // a copy that no store can alias stays in registers
  for (int block = 0; block < s.blocks; ++block) {
    for (int pixel = 0; pixel < kPixels; pixel += kScanned) {
      scan_block<kSigned, kCounts, kShortcuts>(s, block, pixel);
    }
  }
}

template <bool kSigned, bool kCounts>
SPIKECONV_INLINE void scan_shortcuts(const IntScan& s) {
  if (s.n_shortcuts == 0) {
    scan_blocks<kSigned, kCounts, Shortcuts::kNone>(s);
  } else if (s.n_shortcuts == 1) {
    scan_blocks<kSigned, kCounts, Shortcuts::kOne>(s);
  } else {
    scan_blocks<kSigned, kCounts, Shortcuts::kMany>(s);
  }
}

static void scan(const IntScan& s) {
  if (s.is_signed) {
    scan_shortcuts<true, true>(s);
  } else if (s.net != nullptr) {
    scan_shortcuts<false, true>(s);
  } else {
    scan_shortcuts<false, false>(s);
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
