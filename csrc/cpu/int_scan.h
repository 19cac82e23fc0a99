// The neurons of a tile, over its steps, at once or in parts: IntScan of int_tile.h. Included
// inside the integer kernels' .cpp files only, once per instruction set.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

enum class Shortcuts { kNone, kOne, kMany };

// What a scan is compiled for.
template <bool kSignedForm, bool kCountsForm, bool kNarrowForm, Shortcuts kShortcutsForm>
struct Form {
  static constexpr bool kSigned = kSignedForm, kCounts = kCountsForm, kNarrow = kNarrowForm;
  static constexpr Shortcuts kShortcuts = kShortcutsForm;
};

// Pixels whose membranes and biases fit into registers together.
constexpr int kScanned = SPIKECONV_LANES * kPixels / kLanes;

// How far a scan is with one block of channels of some pixels, whose membranes do not wait for each
// other.
struct ScanPlace {
  int pixel, channel;               // the first ones
  const int32_t* acc;               // of the next step
  uint8_t* out[kScanned];           // of the first step
  const uint8_t* jumped[kScanned];  // likewise, where there is one shortcut
  Int v[kScanned], net[kScanned];
  uint8_t unseen[kLanes];  // where spikes go that nobody reads
};

template <class F>
SPIKECONV_INLINE void start(ScanPlace& place, const IntScan& s, int block, int pixel) {
  const int at = block * kLanes, width = s.blocks * kLanes;
  place.pixel = pixel;
  place.channel = at;
  place.acc = s.acc + pixel * width + at;
  SPIKECONV_UNROLL
  for (int p = 0; p < kScanned; ++p) {
    place.v[p] = load(s.v_before[pixel + p] + at);
    if constexpr (F::kCounts) {
      place.net[p] =
          s.net_before == nullptr ? zeros() : load(s.net_before + (pixel + p) * width + at);
    }
    place.out[p] = s.out[0] == nullptr ? place.unseen : s.out[pixel + p] + at;
    if constexpr (F::kShortcuts == Shortcuts::kOne) {
      place.jumped[p] = s.shortcuts[0].spikes[pixel + p] + at;
    }
  }
}

template <bool kNarrow>
SPIKECONV_INLINE Int add_shortcut(Int m, const uint8_t* spikes, Int coefficient) {
  if constexpr (kNarrow) {
    return add_pairs(m, spread(spikes), coefficient);
  } else {
    return add(m, multiply(coefficient, widen(spikes)));
  }
}

// From step `begin`, where it is, up to `end`; of a whole block, or of one with fewer outputs.
template <class F, bool kWhole>
SPIKECONV_INLINE void advance(ScanPlace& place, const IntScan& s, int begin, int end) {
  const int at = place.channel, first_pixel = place.pixel;
  const int width = s.blocks * kLanes, shift = s.shift, last_bias = s.last_bias;
  const Int theta = load(s.theta + at), below = minus_one(theta);
  const int channels = s.channels - at;
  const int64_t bias_row = begin < last_bias ? begin : last_bias;
  Int v[kScanned], net[kScanned], bias[kScanned];
  uint8_t* out[kScanned];
  const uint8_t* jumped[kScanned];
  SPIKECONV_UNROLL
  for (int p = 0; p < kScanned; ++p) {
    v[p] = place.v[p];
    net[p] = F::kCounts ? place.net[p] : zeros();
    bias[p] = load(s.bias[first_pixel + p] + bias_row * s.bias_step + at);
    out[p] = place.out[p];
    jumped[p] = F::kShortcuts == Shortcuts::kOne ? place.jumped[p] : nullptr;
  }
  Int coefficient{};
  int64_t jump_step = 0;
  if constexpr (F::kShortcuts == Shortcuts::kOne) {
    coefficient = load(s.shortcuts[0].coefficient + at);
    jump_step = s.shortcuts[0].step;
  }
  const int32_t* acc = place.acc;
  const int64_t out_step = s.out[0] == nullptr ? 0 : s.out_step;
  int64_t to = begin * out_step, from = begin * jump_step;
  for (int t = begin; t < end; ++t) {
    if (t <= last_bias) {  // mostly a bias has one row, and then stays in registers
      SPIKECONV_UNROLL
      for (int p = 0; p < kScanned; ++p) {
        bias[p] = load(s.bias[first_pixel + p] + t * s.bias_step + at);
      }
    }
    SPIKECONV_UNROLL
    for (int p = 0; p < kScanned; ++p) {
      Int m = load(acc + p * width);
      if constexpr (F::kNarrow && kScalesNarrow) {
        m = add_pairs(bias[p], power_of_two(shift), m);
      } else {
        m = add(shift_left(m, shift), bias[p]);
      }
      if constexpr (F::kShortcuts == Shortcuts::kOne) {
        m = add_shortcut<F::kNarrow>(m, jumped[p] + from, coefficient);
      } else if constexpr (F::kShortcuts == Shortcuts::kMany) {
        for (int i = 0; i < s.n_shortcuts; ++i) {
          const IntShortcut& shortcut = s.shortcuts[i];
          m = add_shortcut<F::kNarrow>(m, shortcut.spikes[first_pixel + p] + t * shortcut.step + at,
                                       load(shortcut.coefficient + at));
        }
      }
      m = add(first(m), v[p]);  // so that a membrane waits for one addition only
      const Mask plus = above(m, below);
      Mask minus{};
      v[p] = subtract_where(plus, m, theta);
      if constexpr (F::kSigned) {
        minus = below_zero_and_above(m, net[p]);
        v[p] = add_where(minus, v[p], theta);
        net[p] = decrement_where(minus, net[p]);
      }
      if constexpr (F::kCounts) {
        net[p] = increment_where(plus, net[p]);
      }
      store_spikes<F::kSigned, kWhole>(out[p] + to, plus, minus, channels);
    }
    acc += kPixels * width;
    to += out_step;
    from += jump_step;
  }
  place.acc = acc;
  SPIKECONV_UNROLL
  for (int p = 0; p < kScanned; ++p) {
    place.v[p] = v[p];
    if constexpr (F::kCounts) {
      place.net[p] = net[p];
    }
  }
}

template <class F>
SPIKECONV_INLINE void finish(const ScanPlace& place, const IntScan& s) {
  const int width = s.blocks * kLanes;
  SPIKECONV_UNROLL
  for (int p = 0; p < kScanned; ++p) {
    const int64_t row = (place.pixel + p) * width + place.channel;
    if (s.v != nullptr) {
      store(s.v + row, place.v[p]);
    }
    if (F::kCounts && s.net != nullptr) {
      store(s.net + row, place.net[p]);
    }
  }
}

using ScanPlaces = ScanPlace[kPixels / kScanned];

template <class F, bool kWhole>
static void scan_pixels(ScanPlaces& places, const IntScan& s, int block, int begin, int end) {
  for (int i = 0; i < kPixels / kScanned; ++i) {
    ScanPlace& place = places[i];
    if (begin == 0) {
      start<F>(place, s, block, i * kScanned);
    }
    advance<F, kWhole>(place, s, begin, end);
    if (end == s.steps) {
      finish<F>(place, s);
    }
  }
}

// Some steps of a block, after those from which `places` come.
template <class F>
static void scan_steps(ScanPlaces& places, const IntScan& s, int block, int begin, int end) {
  if (s.channels - block * kLanes >= kLanes) {
    scan_pixels<F, true>(places, s, block, begin, end);
  } else {
    scan_pixels<F, false>(places, s, block, begin, end);
  }
}

using ScanSteps = void (*)(ScanPlaces& places, const IntScan& s, int block, int begin, int end);

template <bool kSigned, bool kCounts, bool kNarrow>
SPIKECONV_INLINE ScanSteps with_shortcuts(const IntScan& s) {
  return s.n_shortcuts == 0   ? scan_steps<Form<kSigned, kCounts, kNarrow, Shortcuts::kNone>>
         : s.n_shortcuts == 1 ? scan_steps<Form<kSigned, kCounts, kNarrow, Shortcuts::kOne>>
                              : scan_steps<Form<kSigned, kCounts, kNarrow, Shortcuts::kMany>>;
}

template <bool kSigned, bool kCounts>
SPIKECONV_INLINE ScanSteps with_width(const IntScan& s) {
  return s.is_narrow ? with_shortcuts<kSigned, kCounts, true>(s)
                     : with_shortcuts<kSigned, kCounts, false>(s);
}

// What a scan needs, compiled for that alone.
static ScanSteps scan_steps_of(const IntScan& s) {
  return s.is_signed        ? with_width<true, true>(s)
         : s.net != nullptr ? with_width<false, true>(s)
                            : with_width<false, false>(s);
}

static void scan(const IntScan& s) {
  const ScanSteps steps = scan_steps_of(s);
  ScanPlaces places;
  for (int block = 0; block < s.blocks; ++block) {
    steps(places, s, block, 0, s.steps);
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
