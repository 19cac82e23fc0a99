// Layers whose sums are looked up: IntLookupKernels of int_tile.h. Included inside the integer
// kernels' .cpp file for AVX2 only.
//
// A shuffle of bytes looks up 32 words at once in a table of 16 bytes: four channels' products with
// as many spikes. A sum of four weights has ten bits, so a table holds it as two bytes of five,
// which add up in bytes for two words, and then move to 16 bits. Each sum goes on to its neurons in
// registers, as int_lookups_avx512.h has it.
#pragma once

#include "cpu/int_encode_words.h"
#include "cpu/int_lanes.h"
#include "cpu/int_scan.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

constexpr int kWordParts = 4;  // of a word, of four bits each
constexpr int kTable = 16;     // bytes of one
constexpr int kTableBytes = kWordParts * 2 * kTable;
constexpr int kRows = 2;  // words of groups and steps, whose sums are made together

// A sum of four weights is (high + kLowest) * kUnit + low, where high and low are below kUnit.
constexpr int kUnit = 32;
constexpr int kLowest = -16;
static_assert(kLowest * kUnit <= 4 * -128 && (kUnit + kLowest) * kUnit > 4 * 127);
static_assert(2 * kWordParts * (kUnit - 1) <= 255);  // bytes of two taps

// What the words of all taps of all terms are looked up by: [tap][part][row].
template <int kRegisters>
using Indices = __m256i[kMostTaps][kWordParts][kRegisters];

SPIKECONV_INLINE __m256i load_words(const uint16_t* words) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
}

// Bits of 32 words, part by part, a byte each: in the order that comes of packing words, and that
// unpacking bytes takes back.
template <int kRegisters>
SPIKECONV_INLINE void index(const uint16_t* words, const uint16_t* inside, int row,
                            __m256i (&to)[kWordParts][kRegisters]) {
  const __m256i byte = _mm256_set1_epi16(0xff), bits = _mm256_set1_epi8(0xf);
  const __m256i a = _mm256_and_si256(load_words(words), load_words(inside));
  const __m256i b = _mm256_and_si256(load_words(words + kLanes), load_words(inside + kLanes));
  const __m256i low = _mm256_packus_epi16(_mm256_and_si256(a, byte), _mm256_and_si256(b, byte));
  const __m256i high = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
  to[0][row] = _mm256_and_si256(low, bits);
  to[1][row] = _mm256_and_si256(_mm256_srli_epi16(low, 4), bits);
  to[2][row] = _mm256_and_si256(high, bits);
  to[3][row] = _mm256_and_si256(_mm256_srli_epi16(high, 4), bits);
}

// Of some groups and steps, a row each. Returns how many taps there are.
template <int kGroups, int kSteps>
SPIKECONV_INLINE int index_all(const IntLookup& l, int group, int step,
                               Indices<kGroups * kSteps>& to) {
  int n_taps = 0;
  for (int i = 0; i < l.n_terms; ++i) {
    const IntLookupTerm& term = l.terms[i];
    for (int64_t n = 0; n < term.n_taps; ++n, ++n_taps) {
      const IntLookupTap& tap = term.taps[n];
      SPIKECONV_UNROLL
      for (int row = 0; row < kGroups * kSteps; ++row) {
        const int g = group + row / kSteps, t = step + row % kSteps;
        index(term.words + tap.words + g * kPositions + t * term.step,
              term.inside + term.edges[g * term.n_edges + tap.edge] * kPositions, row, to[n_taps]);
      }
    }
  }
  return n_taps;
}

// As in int_lookups_avx512.h, GCC 12 would add up in another order around intrinsics.
SPIKECONV_INLINE __m256i looked_up(__m256i table, __m256i bits) {
  __m256i found;
  asm("vpshufb %2, %1, %0" : "=x"(found) : "x"(table), "x"(bits));
  return found;
}
SPIKECONV_INLINE void add_looked_up(__m256i& sum, __m256i table, __m256i bits) {
  asm("vpaddb %1, %0, %0" : "+x"(sum) : "x"(looked_up(table, bits)));
}

// Sums of the low and of the high bytes of two taps at most.
template <int kRegisters>
struct ByteSums {
  __m256i low[kRegisters], high[kRegisters];

  // Those of one tap; the first in place of whatever was there.
  template <bool kFirst>
  SPIKECONV_MEMBER void add(const uint8_t* tables, const __m256i (&bits)[kWordParts][kRegisters]) {
    SPIKECONV_UNROLL
    for (int part = 0; part < kWordParts; ++part) {
      const auto* table = reinterpret_cast<const __m128i*>(tables + part * 2 * kTable);
      const __m256i lows = _mm256_broadcastsi128_si256(_mm_load_si128(table));
      const __m256i highs = _mm256_broadcastsi128_si256(_mm_load_si128(table + 1));
      SPIKECONV_UNROLL
      for (int r = 0; r < kRegisters; ++r) {
        if (kFirst && part == 0) {
          low[r] = looked_up(lows, bits[part][r]);
          high[r] = looked_up(highs, bits[part][r]);
        } else {
          add_looked_up(low[r], lows, bits[part][r]);
          add_looked_up(high[r], highs, bits[part][r]);
        }
      }
    }
  }

  SPIKECONV_MEMBER void add_to(__m256i (&sums)[kRegisters][2]) const {
    const __m256i units = _mm256_set1_epi16(kUnit << 8 | 1);
    const auto both = [&](__m256i pairs) { return _mm256_maddubs_epi16(pairs, units); };
    SPIKECONV_UNROLL
    for (int r = 0; r < kRegisters; ++r) {
      sums[r][0] = _mm256_add_epi16(sums[r][0], both(_mm256_unpacklo_epi8(low[r], high[r])));
      sums[r][1] = _mm256_add_epi16(sums[r][1], both(_mm256_unpackhi_epi8(low[r], high[r])));
    }
  }
};

// Of an output channel, the sums at the first and at the other 16 positions of each row.
template <int kRegisters>
SPIKECONV_INLINE void look_up(const IntLookup& l, int channel, const Indices<kRegisters>& indices,
                              int n_taps, __m256i (&sums)[kRegisters][2]) {
  const auto start = static_cast<int16_t>(kLowest * kUnit * kWordParts * n_taps);  // modulo 2^16
  SPIKECONV_UNROLL
  for (int r = 0; r < kRegisters; ++r) {
    sums[r][0] = sums[r][1] = _mm256_set1_epi16(start);
  }
  const __m256i(*at)[kWordParts][kRegisters] = indices;
  ByteSums<kRegisters> bytes;
  for (int i = 0; i < l.n_terms; ++i) {
    const uint8_t* tables = l.terms[i].tables + channel * kTableBytes;
    const IntLookupTap* tap = l.terms[i].taps;
    for (int64_t pair = l.terms[i].n_taps / 2; pair > 0; --pair) {
      bytes.template add<true>(tables + tap[0].tables, at[0]);
      bytes.template add<false>(tables + tap[1].tables, at[1]);
      bytes.add_to(sums);
      tap += 2;
      at += 2;
    }
    if (l.terms[i].n_taps % 2 != 0) {
      bytes.template add<true>(tables + tap->tables, *at++);
      bytes.add_to(sums);
    }
  }
}

// Membranes of eight neurons at even positions, and of those beside them.
struct Membranes {
  __m256i even, odd;
};

SPIKECONV_INLINE __m256i all_lanes(uint32_t value) {
  return _mm256_set1_epi32(static_cast<int32_t>(value));
}

// Adds a shortcut's coefficient where a word of sixteen has its bit.
SPIKECONV_INLINE void add_shortcut(const IntLookupShortcut& from, int channel, int64_t place,
                                   Membranes& current) {
  const __m256i words = load_words(from.words[channel] + place);
  const __m256i low = _mm256_set1_epi32(from.bit[channel]);
  const __m256i high = _mm256_set1_epi32(from.high_bit[channel]);
  const __m256i coefficient = all_lanes(static_cast<uint32_t>(from.coefficient[channel]));
  const auto where = [&](__m256i bit) {
    return _mm256_and_si256(_mm256_cmpeq_epi32(_mm256_and_si256(words, bit), bit), coefficient);
  };
  current.even = _mm256_add_epi32(current.even, where(low));
  current.odd = _mm256_add_epi32(current.odd, where(high));
}

// A step of sixteen neurons; returns the bit of those that fire.
template <Shortcuts kShortcuts>
SPIKECONV_INLINE __m256i fire(const IntLookup& l, int channel, __m256i sums, int32_t bias,
                              int64_t position, int step, Membranes& v) {
  const __m256i scale = all_lanes(1u << l.shift), start = _mm256_set1_epi32(bias);
  Membranes m{_mm256_add_epi32(start, _mm256_madd_epi16(sums, scale)),
              _mm256_add_epi32(start, _mm256_madd_epi16(sums, _mm256_slli_epi32(scale, 16)))};
  if constexpr (kShortcuts != Shortcuts::kNone) {
    const int n = kShortcuts == Shortcuts::kOne ? 1 : l.n_shortcuts;
    for (int i = 0; i < n; ++i) {
      add_shortcut(l.shortcuts[i], channel, position + step * l.shortcuts[i].step, m);
    }
  }
  const __m256i theta = _mm256_set1_epi32(l.theta[channel]);
  const __m256i below = _mm256_sub_epi32(theta, _mm256_set1_epi32(1));
  m.even = _mm256_add_epi32(v.even, m.even);
  m.odd = _mm256_add_epi32(v.odd, m.odd);
  const __m256i even = _mm256_cmpgt_epi32(m.even, below), odd = _mm256_cmpgt_epi32(m.odd, below);
  v.even = _mm256_sub_epi32(m.even, _mm256_and_si256(even, theta));
  v.odd = _mm256_sub_epi32(m.odd, _mm256_and_si256(odd, theta));
  const __m256i bit = _mm256_set1_epi16(static_cast<int16_t>(1u << channel));
  return _mm256_and_si256(_mm256_blend_epi16(even, odd, 0xaa), bit);
}

// Of all channels of some groups, at the first and at the other 16 positions.
template <int kGroups>
using AllMembranes = Membranes[kLanes][kGroups][2];

template <int kGroups, int kSteps, Shortcuts kShortcuts>
static void advance(const IntLookup& l, int group, int step, AllMembranes<kGroups>& v) {
  constexpr int kRegisters = kGroups * kSteps;
  Indices<kRegisters> indices;
  const int n_taps = index_all<kGroups, kSteps>(l, group, step, indices);
  __m256i fired[kRegisters][2] = {};
  for (int channel = 0; channel < kLanes; ++channel) {
    __m256i sums[kRegisters][2];
    look_up<kRegisters>(l, channel, indices, n_taps, sums);
    SPIKECONV_UNROLL
    for (int row = 0; row < kRegisters; ++row) {
      const int g = row / kSteps, t = step + row % kSteps;
      const int32_t bias = l.bias[(t < l.last_bias ? t : l.last_bias) * l.bias_step + channel];
      SPIKECONV_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int64_t position = (group + g) * kPositions + half * kLanes;
        const __m256i bits =
            fire<kShortcuts>(l, channel, sums[row][half], bias, position, t, v[channel][g][half]);
        fired[row][half] = _mm256_or_si256(fired[row][half], bits);
      }
    }
  }
  SPIKECONV_UNROLL
  for (int row = 0; row < kRegisters; ++row) {
    uint16_t* out =
        l.out + (group + row / kSteps) * kPositions + (step + row % kSteps) * l.out_step;
    _mm256_store_si256(reinterpret_cast<__m256i*>(out), fired[row][0]);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + kLanes), fired[row][1]);
  }
}

template <int kGroups, Shortcuts kShortcuts>
static void run_groups(const IntLookup& l, int group) {
  constexpr int kMost = kRows / kGroups;
  AllMembranes<kGroups> v;
  for (int channel = 0; channel < kLanes; ++channel) {
    const __m256i start = _mm256_set1_epi32(l.v_init[channel]);
    for (Membranes(&halves)[2] : v[channel]) {
      halves[0] = halves[1] = {start, start};
    }
  }
  int step = 0;
  for (; step + kMost <= l.steps; step += kMost) {
    advance<kGroups, kMost, kShortcuts>(l, group, step, v);
  }
  if (kMost > 1 && step < l.steps) {
    advance<kGroups, 1, kShortcuts>(l, group, step, v);
  }
}

// Where there is one step, groups share what is read of tables.
template <Shortcuts kShortcuts>
static void run_lookup(const IntLookup& l) {
  int group = 0;
  for (; l.steps == 1 && group + 2 <= l.groups; group += 2) {
    run_groups<2, kShortcuts>(l, group);
  }
  for (; group < l.groups; ++group) {
    run_groups<1, kShortcuts>(l, group);
  }
}

static void run_lookups(const IntLookup& l) {
  if (l.n_shortcuts == 0) {
    run_lookup<Shortcuts::kNone>(l);
  } else if (l.n_shortcuts == 1) {
    run_lookup<Shortcuts::kOne>(l);
  } else {
    run_lookup<Shortcuts::kMany>(l);
  }
}

static void to_words(const uint8_t* spikes, int64_t pixels, int64_t pixel, uint16_t* to) {
  for (int64_t x = 0; x < pixels; ++x) {
    const auto* from = reinterpret_cast<const __m128i*>(spikes + x * pixel);
    const __m128i fired = _mm_slli_epi16(_mm_loadu_si128(from), 7);  // bytes are 0 or 1
    to[x] = static_cast<uint16_t>(_mm_movemask_epi8(fired));
  }
}

static void to_bytes(const uint16_t* words, int64_t pixels, int channels, uint8_t* to,
                     int64_t pixel) {
  // Each byte of a word eight times, and the bit that belongs there.
  const __m128i byte = _mm_set_epi64x(0x0101010101010101, 0);
  const __m128i bit = _mm_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  for (int64_t x = 0; x < pixels; ++x) {
    const __m128i word = _mm_shuffle_epi8(_mm_cvtsi32_si128(words[x]), byte);
    const __m128i fired = _mm_cmpeq_epi8(_mm_and_si128(word, bit), bit);
    const __m128i bytes = _mm_and_si128(fired, _mm_set1_epi8(1));
    if (channels == kLanes) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to + x * pixel), bytes);
    } else {
      __builtin_memcpy(to + x * pixel, &bytes, channels);
    }
  }
}

static void write_table(const int8_t* weights, uint8_t* to) {
  for (int part = 0; part < kWordParts; ++part) {
    for (int spikes = 0; spikes < kTable; ++spikes) {
      int sum = -kLowest * kUnit;
      for (int bit = 0; bit < 4; ++bit) {
        sum += (spikes >> bit & 1) * weights[bit];
      }
      to[spikes] = static_cast<uint8_t>(sum % kUnit);
      to[kTable + spikes] = static_cast<uint8_t>(sum / kUnit);
    }
    weights += 4;
    to += 2 * kTable;
  }
}

static IntLookupKernels lookup_kernels(int64_t most_taps, float most_room) {
  return {to_words,    to_bytes,     write_table, kTableBytes,
          run_lookups, encode_words, most_taps,   most_room};
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
