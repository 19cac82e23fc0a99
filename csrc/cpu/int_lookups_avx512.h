// Layers whose sums are looked up: IntLookupKernels of int_lookup.h. Included inside the integer
// kernels' .cpp files only, once per instruction set with AVX-512.
//
// A permutation looks up 32 words at once in a table that lies in one register, or in two: 5 or 6
// channels' products with as many spikes in one instruction. Tables hold sums as int16. Each sum
// goes on to its neurons in registers: those at even positions are the low halves of 16 lanes,
// those at odd ones the high halves.
#pragma once

#include "cpu/int_encode_words.h"
#include "cpu/int_lanes.h"
#include "cpu/int_lookup_form.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

constexpr int kWordBits[] = {6, 5, 5};
constexpr int kTableValues = 64 + 32 + 32;  // of the parts, one after the other
constexpr int64_t kTableBytes = kTableValues * sizeof(int16_t);

// Output channels, and words of groups and steps, whose sums are made together, in registers.
constexpr int kChannels = 4;
constexpr int kRows = 4;

// Around intrinsics GCC 12 would add up in another order, for which registers do not suffice.
SPIKECONV_INLINE void add_looked_up(__m512i& sum, __m512i words, __m512i table) {
  __m512i found;
  asm("vpermw %2, %1, %0" : "=v"(found) : "v"(words), "v"(table));
  asm("vpaddw %1, %0, %0" : "+v"(sum) : "v"(found));
}
SPIKECONV_INLINE void add_looked_up(__m512i& sum, __m512i words, __m512i low, __m512i high) {
  asm("vpermi2w %2, %1, %0" : "+v"(words) : "v"(low), "v"(high));
  asm("vpaddw %1, %0, %0" : "+v"(sum) : "v"(words));
}

// Of some groups, and some steps of each.
template <int kGroups, int kSteps>
using LookupSums = __m512i[kChannels][kGroups][kSteps];

template <int kGroups, int kSteps>
SPIKECONV_INLINE void look_up(const IntLookup& l, int pass, int group, int channel, int step,
                              LookupSums<kGroups, kSteps>& sums) {
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < kChannels * kGroups * kSteps; ++i) {
    sums[i / kSteps / kGroups][i / kSteps % kGroups][i % kSteps] = _mm512_setzero_si512();
  }
  for (int i = pass == 0 ? 0 : l.end[pass - 1]; i < l.end[pass]; ++i) {
    const IntLookupTerm& term = l.terms[i];
    const uint16_t* from = term.words + group * kPositions + step * term.step;
    const uint32_t* edges = term.edges + group * term.n_edges;
    for (int64_t n = 0; n < term.n_taps; ++n) {
      const IntLookupTap& tap = term.taps[n];
      const auto* tables =
          reinterpret_cast<const int16_t*>(term.tables + tap.tables) + channel * kTableValues;
      __m512i words[kGroups][kSteps];
      SPIKECONV_UNROLL_ALL
      for (int g = 0; g < kGroups; ++g) {
        // A mask's register would take the permutations' place.
        const __m512i inside =
            _mm512_load_si512(term.inside + edges[g * term.n_edges + tap.edge] * kPositions);
        SPIKECONV_UNROLL_ALL
        for (int t = 0; t < kSteps; ++t) {
          words[g][t] = _mm512_and_si512(
              inside, _mm512_loadu_si512(from + tap.words + g * kPositions + t * term.step));
        }
      }
      SPIKECONV_UNROLL_ALL
      for (int c = 0; c < kChannels; ++c) {
        const __m512i low = _mm512_load_si512(tables + c * kTableValues);
        const __m512i high = _mm512_load_si512(tables + c * kTableValues + kPositions);
        SPIKECONV_UNROLL_ALL
        for (int i = 0; i < kGroups * kSteps; ++i) {
          add_looked_up(sums[c][i / kSteps][i % kSteps], words[i / kSteps][i % kSteps], low, high);
        }
      }
      SPIKECONV_UNROLL_ALL
      for (int part = 1; part < 3; ++part) {
        SPIKECONV_UNROLL_ALL
        for (int i = 0; i < kGroups * kSteps; ++i) {
          __m512i& word = words[i / kSteps][i % kSteps];
          word = _mm512_maskz_srli_epi16(0xffffffff, word, kWordBits[part - 1]);
        }
        SPIKECONV_UNROLL_ALL
        for (int c = 0; c < kChannels; ++c) {
          const __m512i table =
              _mm512_load_si512(tables + c * kTableValues + (1 + part) * kPositions);
          SPIKECONV_UNROLL_ALL
          for (int i = 0; i < kGroups * kSteps; ++i) {
            add_looked_up(sums[c][i / kSteps][i % kSteps], words[i / kSteps][i % kSteps], table);
          }
        }
      }
    }
  }
}

// Of a channel, at the even and at the odd positions of a group: membranes, or what enters them.
struct Halves {
  Int even, odd;
};

SPIKECONV_INLINE Int all_lanes(int32_t value) { return {_mm512_set1_epi32(value)}; }

// Sums of all passes, in units of the last one.
template <int kGroups, int kSteps>
using TotalSums = Halves[kChannels][kGroups][kSteps];

template <int kGroups, int kSteps>
SPIKECONV_INLINE void look_up_all(const IntLookup& l, int group, int channel, int step,
                                  TotalSums<kGroups, kSteps>& totals) {
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < kChannels * kGroups * kSteps; ++i) {
    totals[i / kSteps / kGroups][i / kSteps % kGroups][i % kSteps] = {zeros(), zeros()};
  }
  for (int pass = 0; pass < l.passes; ++pass) {
    LookupSums<kGroups, kSteps> sums;
    look_up<kGroups, kSteps>(l, pass, group, channel, step, sums);
    SPIKECONV_UNROLL_ALL
    for (int i = 0; i < kChannels * kGroups * kSteps; ++i) {
      const int c = i / kSteps / kGroups, g = i / kSteps % kGroups, t = i % kSteps;
      const __m512i sum = sums[c][g][t];
      const Int even{_mm512_maskz_srai_epi32(0xffff, shift_left(Int{sum}, 16).value, 16)};
      const Int odd{_mm512_maskz_srai_epi32(0xffff, sum, 16)};
      Halves& total = totals[c][g][t];
      total.even = add(shift_left(total.even, 8), even);
      total.odd = add(shift_left(total.odd, 8), odd);
    }
  }
}

// Of a lane's two words, the bit of a channel.
SPIKECONV_INLINE int32_t low_bit(int channel) { return 1 << channel; }
SPIKECONV_INLINE int32_t high_bit(int channel) { return static_cast<int32_t>(0x10000u << channel); }

// Adds a shortcut's coefficient where a word has its bit.
SPIKECONV_INLINE void add_shortcut(const IntLookupShortcut& from, int channel, int64_t position,
                                   int step, Int& even, Int& odd) {
  const __m512i at = _mm512_load_si512(from.words[channel] + position + step * from.step);
  const Int low = all_lanes(from.bit[channel]), high = all_lanes(from.high_bit[channel]);
  const Int coefficient = all_lanes(from.coefficient[channel]);
  even = add_where(_mm512_test_epi32_mask(at, low.value), even, coefficient);
  odd = add_where(_mm512_test_epi32_mask(at, high.value), odd, coefficient);
}

// Some channels of some groups, from step on.
template <class F, int kGroups, int kSteps>
static void advance(const IntLookup& l, int group, int channel, int step,
                    Halves (&v)[kGroups][kChannels]) {
  LookupSums<kGroups, kSteps> sums;
  TotalSums<kGroups, kSteps> totals;
  if constexpr (F::kOnePass) {
    look_up<kGroups, kSteps>(l, 0, group, channel, step, sums);
  } else {
    look_up_all<kGroups, kSteps>(l, group, channel, step, totals);
  }
  // Where there is one pass, so that shift is less than 15.
  const int scale = F::kOnePass ? 1 << l.shift : 1;
  const Int even_scale = all_lanes(scale), odd_scale = all_lanes(scale << 16);
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < kGroups * kSteps; ++i) {
    const int g = i / kSteps, t = step + i % kSteps;
    const int64_t position = (group + g) * kPositions;
    const int32_t* bias = l.bias + (t < l.last_bias ? t : l.last_bias) * l.bias_step + channel;
    uint16_t* out = l.out + position + t * l.out_step;
    Int fired = channel == 0 ? zeros() : Int{_mm512_load_si512(out)};
    // Channel by channel, whose membranes do not wait for each other.
    SPIKECONV_UNROLL_ALL
    for (int c = 0; c < kChannels; ++c) {
      const Int current = all_lanes(bias[c]);
      const Int theta = all_lanes(l.theta[channel + c]), below = minus_one(theta);
      Halves& m = v[g][c];
      Int even, odd;
      if constexpr (F::kOnePass) {
        const Int sum{sums[c][g][i % kSteps]};
        even = add_pairs(current, sum, even_scale);
        odd = add_pairs(current, sum, odd_scale);
      } else {
        const Halves& total = totals[c][g][i % kSteps];
        even = add(current, shift_left(total.even, l.shift));
        odd = add(current, shift_left(total.odd, l.shift));
      }
      for (int j = 0; j < F::shortcuts(l); ++j) {
        add_shortcut(l.shortcuts[j], channel + c, position, t, even, odd);
      }
      m.even = add(m.even, first(even));
      m.odd = add(m.odd, first(odd));
      const Mask even_fires = above(m.even, below), odd_fires = above(m.odd, below);
      m.even = subtract_where(even_fires, m.even, theta);
      m.odd = subtract_where(odd_fires, m.odd, theta);
      fired = add_where(even_fires, fired, all_lanes(low_bit(channel + c)));
      fired = add_where(odd_fires, fired, all_lanes(high_bit(channel + c)));
    }
    _mm512_store_si512(out, fired.value);
  }
}

// Of `count` steps, 1 to kMost.
template <class F, int kGroups, int kMost>
SPIKECONV_INLINE void advance_some(const IntLookup& l, int group, int channel, int step, int count,
                                   Halves (&v)[kGroups][kChannels]) {
  if constexpr (kMost > 1) {
    if (count < kMost) {
      return advance_some<F, kGroups, kMost - 1>(l, group, channel, step, count, v);
    }
  }
  advance<F, kGroups, kMost>(l, group, channel, step, v);
}

// All steps, in parts as equal as they can be.
template <class F, int kGroups>
static void run_groups(const IntLookup& l, int group) {
  constexpr int kMost = kRows / kGroups;
  const int64_t parts = (l.steps + kMost - 1) / kMost;
  for (int channel = 0; channel < kLanes; channel += kChannels) {
    Halves v[kGroups][kChannels];
    for (int g = 0; g < kGroups; ++g) {
      for (int c = 0; c < kChannels; ++c) {
        v[g][c].even = v[g][c].odd = all_lanes(l.v_init[channel + c]);
      }
    }
    for (int64_t part = 0; part < parts; ++part) {
      const auto step = static_cast<int>(l.steps * part / parts);
      const auto end = static_cast<int>(l.steps * (part + 1) / parts);
      advance_some<F, kGroups, kMost>(l, group, channel, step, end - step, v);
    }
  }
}

// Where steps are few, groups share what is read of tables.
template <class F>
static void run_lookup(const IntLookup& l) {
  int group = 0;
  for (; l.steps == 1 && group + 4 <= l.groups; group += 4) {
    run_groups<F, 4>(l, group);
  }
  for (; l.steps <= 2 && group + 2 <= l.groups; group += 2) {
    run_groups<F, 2>(l, group);
  }
  for (; group < l.groups; ++group) {
    run_groups<F, 1>(l, group);
  }
}

// Four pixels at a time.
static void to_words(const uint8_t* spikes, int64_t pixels, int64_t pixel, uint16_t* to) {
  for (int64_t x = 0; x < pixels; x += 4) {
    const int64_t count = pixels - x < 4 ? pixels - x : 4;
    const auto load = [&](int64_t p) {
      const uint8_t* from = spikes + (x + (p < count ? p : count - 1)) * pixel;
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    };
    __m512i bytes = _mm512_maskz_inserti32x4(0xffff, _mm512_setzero_si512(), load(0), 0);
    bytes = _mm512_maskz_inserti32x4(0xffff, bytes, load(1), 1);
    bytes = _mm512_maskz_inserti32x4(0xffff, bytes, load(2), 2);
    bytes = _mm512_maskz_inserti32x4(0xffff, bytes, load(3), 3);
    const uint64_t fired = _mm512_test_epi8_mask(bytes, bytes);
    if (count == 4) {
      __builtin_memcpy(to + x, &fired, sizeof fired);
    } else {
      __builtin_memcpy(to + x, &fired, count * sizeof(uint16_t));
    }
  }
}

static void to_bytes(const uint16_t* words, int64_t pixels, int channels, uint8_t* to,
                     int64_t pixel) {
  const auto wanted = static_cast<Mask>((1u << channels) - 1);
  const __m128i one = _mm_set1_epi8(1);
  for (int64_t x = 0; x < pixels; ++x) {
    _mm_mask_storeu_epi8(to + x * pixel, wanted, _mm_maskz_mov_epi8(words[x], one));
  }
}

static void write_table(const int8_t* weights, uint8_t* to) {
  auto* table = reinterpret_cast<int16_t*>(to);
  for (const int bits : kWordBits) {
    table[0] = 0;
    // Each value is the sum of what its highest bit adds to a value before it.
    for (int bit = 0; bit < bits; ++bit) {
      for (int rest = 0; rest < 1 << bit; ++rest) {
        table[(1 << bit) + rest] = static_cast<int16_t>(table[rest] + *weights);
      }
      ++weights;
    }
    table += 1 << bits;
  }
}

static IntLookupKernels lookup_kernels(int64_t most_taps, float most_room) {
  return {to_words,    to_bytes,     write_table, kTableBytes,
          run_lookups, encode_words, most_taps,   most_room};
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
