// The neurons of a tile, over its steps, at once or in parts: IntScan of int_tile.h. Included
// inside the integer kernels' .cpp files only, once per instruction set.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// How many shortcuts a kernel is compiled for.
enum class Shortcuts { kNone, kOne, kMany };

// Pixels whose membranes and biases fit into registers together.
constexpr int kScanned = SPIKECONV_LANES * kPixels / kLanes;

// How far a scan is with one block of channels of some pixels, whose membranes do not wait for each
// other.
struct ScanPlace {
  int pixel, channel;  // the first ones
  const int32_t* acc;  // of the next step
  uint8_t* out[kScanned];
  const uint8_t* jumped[kScanned];  // where there is one shortcut
  Int v[kScanned], net[kScanned];
};

template <bool kCounts, Shortcuts kShortcuts>
SPIKECONV_INLINE void start(ScanPlace& place, const IntScan& s, int block, int pixel) {
  const int at = block * kLanes, width = s.blocks * kLanes;
  place.pixel = pixel;
  place.channel = at;
  place.acc = s.acc + pixel * width + at;
  SPIKECONV_UNROLL
  for (int p = 0; p < kScanned; ++p) {
    place.v[p] = load(s.v_before[pixel + p] + at);
    if constexpr (kCounts) {
      place.net[p] =
          s.net_before == nullptr ? zeros() : load(s.net_before + (pixel + p) * width + at);
    }
    place.out[p] = s.out[0] == nullptr ? nullptr : s.out[pixel + p] + at;
    if constexpr (kShortcuts == Shortcuts::kOne) {
      place.jumped[p] = s.shortcuts[0].spikes[pixel + p] + at;
    }
  }
}

// From step `begin`, where it is, up to `end`.
template <bool kSigned, bool kCounts, Shortcuts kShortcuts>
SPIKECONV_INLINE void advance(ScanPlace& place, const IntScan& s, int begin, int end) {
  const int at = place.channel, first_pixel = place.pixel;
  const int width = s.blocks * kLanes, shift = s.shift, last_bias = s.last_bias;
  const Int theta = load(s.theta + at), below = minus_one(theta);
  const bool emits = s.out[0] != nullptr;
  const int channels = s.channels - at;
  const int64_t bias_row = begin < last_bias ? begin : last_bias;
  Int v[kScanned], net[kScanned], bias[kScanned];
  uint8_t* out[kScanned];
  const uint8_t* jumped[kScanned];
  SPIKECONV_UNROLL
  for (int p = 0; p < kScanned; ++p) {
    v[p] = place.v[p];
    net[p] = kCounts ? place.net[p] : zeros();
    bias[p] = load(s.bias[first_pixel + p] + bias_row * s.bias_step + at);
    out[p] = place.out[p];
    jumped[p] = kShortcuts == Shortcuts::kOne ? place.jumped[p] : nullptr;
  }
  Int coefficient{};
  int64_t jump_step = 0;
  if constexpr (kShortcuts == Shortcuts::kOne) {
    coefficient = load(s.shortcuts[0].coefficient + at);
    jump_step = s.shortcuts[0].step;
  }
  const int32_t* acc = place.acc;
  const int64_t out_step = s.out_step;
  for (int t = begin; t < end; ++t) {
    if (t > begin && t <= last_bias) {  // mostly a bias has one row, and then stays in registers
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
        store_spikes<kSigned>(out[p], plus, minus, channels);
        out[p] += out_step;
      }
    }
    acc += kPixels * width;
  }
  place.acc = acc;
  SPIKECONV_UNROLL
  for (int p = 0; p < kScanned; ++p) {
    place.v[p] = v[p];
    place.out[p] = out[p];
    if constexpr (kCounts) {
      place.net[p] = net[p];
    }
    if constexpr (kShortcuts == Shortcuts::kOne) {
      place.jumped[p] = jumped[p];
    }
  }
}

template <bool kCounts>
SPIKECONV_INLINE void finish(const ScanPlace& place, const IntScan& s) {
  const int width = s.blocks * kLanes;
  SPIKECONV_UNROLL
  for (int p = 0; p < kScanned; ++p) {
    const int64_t row = (place.pixel + p) * width + place.channel;
    if (s.v != nullptr) {
      store(s.v + row, place.v[p]);
    }
    if (kCounts && s.net != nullptr) {
      store(s.net + row, place.net[p]);
    }
  }
}

using ScanPlaces = ScanPlace[kPixels / kScanned];

// Some steps of a block, after those from which `places` come.
template <bool kSigned, bool kCounts, Shortcuts kShortcuts>
static void scan_steps(ScanPlaces& places, const IntScan& s, int block, int begin, int end) {
  for (int i = 0; i < kPixels / kScanned; ++i) {
    ScanPlace& place = places[i];
    if (begin == 0) {
      start<kCounts, kShortcuts>(place, s, block, i * kScanned);
    }
    advance<kSigned, kCounts, kShortcuts>(place, s, begin, end);
    if (end == s.steps) {
      finish<kCounts>(place, s);
    }
  }
}

using ScanSteps = void (*)(ScanPlaces& places, const IntScan& s, int block, int begin, int end);

template <bool kSigned, bool kCounts>
SPIKECONV_INLINE ScanSteps with_shortcuts(const IntScan& s) {
  return s.n_shortcuts == 0   ? scan_steps<kSigned, kCounts, Shortcuts::kNone>
         : s.n_shortcuts == 1 ? scan_steps<kSigned, kCounts, Shortcuts::kOne>
                              : scan_steps<kSigned, kCounts, Shortcuts::kMany>;
}

// What a scan needs, compiled for that alone.
static ScanSteps scan_steps_of(const IntScan& s) {
  return s.is_signed        ? with_shortcuts<true, true>(s)
         : s.net != nullptr ? with_shortcuts<false, true>(s)
                            : with_shortcuts<false, false>(s);
}

static void scan(const IntScan& s) {
  const ScanSteps steps = scan_steps_of(s);
  ScanPlaces places;
  for (int block = 0; block < s.blocks; ++block) {
    steps(places, s, block, 0, s.steps);
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
