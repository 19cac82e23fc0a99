// Layers whose sums are looked up: IntLookupKernels of int_lookup.h. Included inside the integer
// kernels' .cpp file for AVX2 only.
//
// Each sum of int_byte_sums_avx2.h goes on to its neurons in registers, as int_lookups_avx512.h has
// it: those at even positions are the low halves of 8 lanes, those at odd ones the high halves.
#pragma once

#include "cpu/int_byte_sums_avx2.h"
#include "cpu/int_encode_words.h"
#include "cpu/int_lanes.h"
#include "cpu/int_lookup_form.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

constexpr int kRows = 2;  // words of groups and steps, whose sums are made together

SPIKECONV_INLINE int first_term(const IntLookup& l, int pass) {
  return pass == 0 ? 0 : l.end[pass - 1];
}

// Of some groups and steps, a row each. Returns how many taps there are.
template <int kGroups, int kSteps>
SPIKECONV_INLINE int index_all(const IntLookup& l, int pass, int group, int step,
                               Indices<kGroups * kSteps>& to) {
  int n_taps = 0;
  for (int i = first_term(l, pass); i < l.end[pass]; ++i) {
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

// Of an output channel, the sums at the first and at the other 16 positions of each row.
template <int kRegisters>
SPIKECONV_INLINE void look_up(const IntLookup& l, int pass, int channel,
                              const Indices<kRegisters>& indices, int n_taps,
                              __m256i (&sums)[kRegisters][2]) {
  const auto start = static_cast<int16_t>(kLowest * kUnit * kWordParts * n_taps);  // modulo 2^16
  SPIKECONV_UNROLL
  for (int r = 0; r < kRegisters; ++r) {
    sums[r][0] = sums[r][1] = _mm256_set1_epi16(start);
  }
  const __m256i(*at)[kWordParts][kRegisters] = indices;
  ByteSums<kRegisters> bytes;
  for (int i = first_term(l, pass); i < l.end[pass]; ++i) {
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

// Of eight neurons at even positions, and of those beside them: membranes, or what enters them.
struct Halves {
  __m256i even, odd;
};

SPIKECONV_INLINE __m256i all_lanes(uint32_t value) {
  return _mm256_set1_epi32(static_cast<int32_t>(value));
}

// Adds a shortcut's coefficient where a word of sixteen has its bit.
SPIKECONV_INLINE void add_shortcut(const IntLookupShortcut& from, int channel, int64_t place,
                                   Halves& current) {
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

// A step of sixteen neurons, which the convolutions' sums `m` enter; returns the bit of those that
// fire.
template <class F>
SPIKECONV_INLINE __m256i fire(const IntLookup& l, int channel, Halves m, int64_t position, int step,
                              Halves& v) {
  const int64_t row = step < l.last_bias ? step : l.last_bias;
  const __m256i bias = _mm256_set1_epi32(l.bias[row * l.bias_step + channel]);
  m = {_mm256_add_epi32(m.even, bias), _mm256_add_epi32(m.odd, bias)};
  for (int i = 0; i < F::shortcuts(l); ++i) {
    add_shortcut(l.shortcuts[i], channel, position + step * l.shortcuts[i].step, m);
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
using AllMembranes = Halves[kLanes][kGroups][2];

// Sums of all passes, and of all channels of the rows, likewise.
template <int kRegisters>
using TotalSums = Halves[kLanes][kRegisters][2];

template <int kGroups, int kSteps>
SPIKECONV_INLINE void look_up_all(const IntLookup& l, int group, int step,
                                  TotalSums<kGroups * kSteps>& totals) {
  constexpr int kRegisters = kGroups * kSteps;
  Indices<kRegisters> indices;
  for (int pass = 0; pass < l.passes; ++pass) {
    const int n_taps = index_all<kGroups, kSteps>(l, pass, group, step, indices);
    for (int channel = 0; channel < kLanes; ++channel) {
      __m256i sums[kRegisters][2];
      look_up<kRegisters>(l, pass, channel, indices, n_taps, sums);
      SPIKECONV_UNROLL
      for (int i = 0; i < 2 * kRegisters; ++i) {
        const __m256i sum = sums[i / 2][i % 2];
        const __m256i even = _mm256_srai_epi32(_mm256_slli_epi32(sum, 16), 16);
        const __m256i odd = _mm256_srai_epi32(sum, 16);
        Halves& total = totals[channel][i / 2][i % 2];
        total.even = _mm256_add_epi32(_mm256_slli_epi32(total.even, 8), even);
        total.odd = _mm256_add_epi32(_mm256_slli_epi32(total.odd, 8), odd);
      }
    }
  }
}

template <class F, int kGroups, int kSteps>
static void advance(const IntLookup& l, int group, int step, AllMembranes<kGroups>& v) {
  constexpr int kRegisters = kGroups * kSteps;
  Indices<F::kOnePass ? kRegisters : 1> indices;
  int n_taps = 0;
  TotalSums<kRegisters> totals;
  if constexpr (F::kOnePass) {
    n_taps = index_all<kGroups, kSteps>(l, 0, group, step, indices);
  } else {
    __builtin_memset(totals, 0, sizeof totals);
    look_up_all<kGroups, kSteps>(l, group, step, totals);
  }
  const __m256i scale = all_lanes(1u << l.shift), odd_scale = _mm256_slli_epi32(scale, 16);
  __m256i fired[kRegisters][2] = {};
  for (int channel = 0; channel < kLanes; ++channel) {
    __m256i sums[kRegisters][2];
    if constexpr (F::kOnePass) {
      look_up<kRegisters>(l, 0, channel, indices, n_taps, sums);
    }
    SPIKECONV_UNROLL
    for (int i = 0; i < 2 * kRegisters; ++i) {
      const int row = i / 2, half = i % 2, g = row / kSteps;
      const int64_t position = (group + g) * kPositions + half * kLanes;
      Halves m;
      if constexpr (F::kOnePass) {
        const __m256i sum = sums[row][half];
        m = {_mm256_madd_epi16(sum, scale), _mm256_madd_epi16(sum, odd_scale)};
      } else {
        const Halves& total = totals[channel][row][half];
        m = {_mm256_slli_epi32(total.even, l.shift), _mm256_slli_epi32(total.odd, l.shift)};
      }
      const __m256i bits =
          fire<F>(l, channel, m, position, step + row % kSteps, v[channel][g][half]);
      fired[row][half] = _mm256_or_si256(fired[row][half], bits);
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

template <class F, int kGroups>
static void run_groups(const IntLookup& l, int group) {
  constexpr int kMost = kRows / kGroups;
  AllMembranes<kGroups> v;
  for (int channel = 0; channel < kLanes; ++channel) {
    const __m256i start = _mm256_set1_epi32(l.v_init[channel]);
    for (Halves(&halves)[2] : v[channel]) {
      halves[0] = halves[1] = {start, start};
    }
  }
  int step = 0;
  for (; step + kMost <= l.steps; step += kMost) {
    advance<F, kGroups, kMost>(l, group, step, v);
  }
  if (kMost > 1 && step < l.steps) {
    advance<F, kGroups, 1>(l, group, step, v);
  }
}

// Where there is one step, groups share what is read of tables.
template <class F>
static void run_lookup(const IntLookup& l) {
  int group = 0;
  for (; l.steps == 1 && group + 2 <= l.groups; group += 2) {
    run_groups<F, 2>(l, group);
  }
  for (; group < l.groups; ++group) {
    run_groups<F, 1>(l, group);
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

static IntLookupKernels lookup_kernels(int64_t most_taps, float most_room) {
  return {to_words,    to_bytes,     write_table, kTableBytes,
          run_lookups, encode_words, most_taps,   most_room};
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
