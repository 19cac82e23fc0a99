// The neurons of a tile, over its steps: IntScan of int_tile.h. Included inside the integer
// kernels' .cpp files only, once per instruction set.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// How many shortcuts a kernel is compiled for.
enum class Shortcuts { kNone, kOne, kMany };

// One block of channels of all four pixels, whose membranes do not wait for each other.
template <bool kSigned, Shortcuts kShortcuts>
SPIKECONV_INLINE void scan_block(const IntScan& s, int block) {
  const int at = block * kLanes;
  const int width = s.blocks * kLanes;
  const int left = s.channels - at;
  const Int theta = load(s.theta + at);
  Int coefficient{};
  if constexpr (kShortcuts == Shortcuts::kOne) {
    coefficient = load(s.shortcuts[0].coefficient + at);
  }
  Int v[kPixels];
  Int net[kPixels];
  SPIKECONV_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    v[p] = load(s.v + p * width + at);
    net[p] = load(s.net + p * width + at);
  }
  for (int t = 0; t < s.steps; ++t) {
    const int64_t row = (t < s.last_bias ? t : s.last_bias) * s.bias_step + at;
    SPIKECONV_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      Int m = shift_left(load(s.acc + (t * kPixels + p) * width + at), s.shift);
      m = add(m, load(s.bias[p] + row));
      if constexpr (kShortcuts == Shortcuts::kOne) {
        const IntShortcut& shortcut = s.shortcuts[0];
        const Int spikes = widen(shortcut.spikes[p] + t * shortcut.step + at);
        m = add(m, multiply(coefficient, spikes));
      } else if constexpr (kShortcuts == Shortcuts::kMany) {
        for (int i = 0; i < s.n_shortcuts; ++i) {
          const IntShortcut& shortcut = s.shortcuts[i];
          const Int spikes = widen(shortcut.spikes[p] + t * shortcut.step + at);
          m = add(m, multiply(load(shortcut.coefficient + at), spikes));
        }
      }
      m = add(m, v[p]);
      const Mask plus = at_least(m, theta);
      Mask minus{};
      v[p] = subtract_where(plus, m, theta);
      if constexpr (kSigned) {
        minus = below_zero_and_above(m, net[p]);
        v[p] = add_where(minus, v[p], theta);
        net[p] = decrement_where(minus, net[p]);
      }
      net[p] = increment_where(plus, net[p]);
      if (s.emits) {
        store_spikes<kSigned>(s.out[p] + t * s.out_step + at, plus, minus, left);
      }
    }
  }
  SPIKECONV_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    store(s.v + p * width + at, v[p]);
    store(s.net + p * width + at, net[p]);
  }
}

template <bool kSigned, Shortcuts kShortcuts>
SPIKECONV_INLINE void scan_blocks(const IntScan& given) {
  const IntScan s = given;  // a copy that no store can alias stays in registers
  for (int block = 0; block < s.blocks; ++block) {
    scan_block<kSigned, kShortcuts>(s, block);
  }
}

template <bool kSigned>
SPIKECONV_INLINE void scan_signed(const IntScan& s) {
  if (s.n_shortcuts == 0) {
    scan_blocks<kSigned, Shortcuts::kNone>(s);
  } else if (s.n_shortcuts == 1) {
    scan_blocks<kSigned, Shortcuts::kOne>(s);
  } else {
    scan_blocks<kSigned, Shortcuts::kMany>(s);
  }
}

static void scan(const IntScan& s) {
  if (s.is_signed) {
    scan_signed<true>(s);
  } else {
    scan_signed<false>(s);
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
