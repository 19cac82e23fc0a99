// Weights added up at the places of spikes: IntEventDot of int_tile.h. Included inside the integer
// kernels' .cpp files only, once per instruction set.
#pragma once

#include "cpu/int_event_places.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// Sums of 16 bits for the 32 channels of a pair of blocks.
constexpr int kPairLanes = kPair * kLanes;

#if SPIKECONV_LANES == 16

struct Short {
  __m512i value;
};
SPIKECONV_INLINE Short no_sum() { return {_mm512_setzero_si512()}; }
SPIKECONV_INLINE void add_row(Short& sum, const int8_t* row) {
  const __m256i bytes = _mm256_load_si256(reinterpret_cast<const __m256i*>(row));
  sum.value = _mm512_add_epi16(sum.value, _mm512_maskz_cvtepi8_epi16(0xffffffff, bytes));
}
SPIKECONV_INLINE Short plus(Short a, Short b) { return {_mm512_add_epi16(a.value, b.value)}; }
SPIKECONV_INLINE Int widened(const Short& sum, int block) {
  const __m256i half = block == 0 ? _mm512_maskz_extracti64x4_epi64(0xff, sum.value, 0)
                                  : _mm512_maskz_extracti64x4_epi64(0xff, sum.value, 1);
  return {_mm512_maskz_cvtepi16_epi32(0xffff, half)};
}

#elif SPIKECONV_LANES == 8

struct Short {
  __m256i blocks[kPair];
};
SPIKECONV_INLINE Short no_sum() { return {{_mm256_setzero_si256(), _mm256_setzero_si256()}}; }
SPIKECONV_INLINE void add_row(Short& sum, const int8_t* row) {
  SPIKECONV_UNROLL
  for (int i = 0; i < kPair; ++i) {
    const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(row) + i);
    sum.blocks[i] = _mm256_add_epi16(sum.blocks[i], _mm256_cvtepi8_epi16(bytes));
  }
}
SPIKECONV_INLINE Short plus(const Short& a, const Short& b) {
  return {{_mm256_add_epi16(a.blocks[0], b.blocks[0]), _mm256_add_epi16(a.blocks[1], b.blocks[1])}};
}
SPIKECONV_INLINE Int widened(const Short& sum, int block) {
  const __m256i both = sum.blocks[block];
  return {{Part(_mm256_cvtepi16_epi32(_mm256_castsi256_si128(both))),
           Part(_mm256_cvtepi16_epi32(_mm256_extracti128_si256(both, 1)))}};
}

#else

// Eight channels to a register, for the compiler.
typedef int16_t ShortPart __attribute__((vector_size(16)));
constexpr int kShortParts = kPairLanes / 8;
struct Short {
  ShortPart parts[kShortParts];
};
SPIKECONV_INLINE Short no_sum() { return {}; }
SPIKECONV_INLINE void add_row(Short& sum, const int8_t* row) {
#if defined(SPIKECONV_X86)
  SPIKECONV_UNROLL
  for (int i = 0; i < kShortParts; i += 2) {
    const __m128i bytes = _mm_load_si128(reinterpret_cast<const __m128i*>(row + 8 * i));
    sum.parts[i] += ShortPart(_mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8));
    sum.parts[i + 1] += ShortPart(_mm_srai_epi16(_mm_unpackhi_epi8(bytes, bytes), 8));
  }
#else
  for (int i = 0; i < kPairLanes; ++i) {
    sum.parts[i / 8][i % 8] += row[i];
  }
#endif
}
SPIKECONV_INLINE Short plus(const Short& a, const Short& b) {
  Short sum;
  for (int i = 0; i < kShortParts; ++i) {
    sum.parts[i] = a.parts[i] + b.parts[i];
  }
  return sum;
}
SPIKECONV_INLINE Int widened(const Short& sum, int block) {
  int32_t wide[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    wide[i] = sum.parts[block * 2 + i / 8][i % 8];
  }
  return load(wide);
}

#endif

// The places of a window's step, shifted to rows of its weights, written to `to`: how many, with
// places of the row of zeros up to a multiple of kAtOnce.
constexpr int kAtOnce = 4;
SPIKECONV_INLINE int64_t window_places(const IntEventTerm& term, int pixel, int64_t step,
                                       uint16_t* to) {
  constexpr int kMany = 2 * SPIKECONV_LANES;  // in a register
  typedef uint16_t Many __attribute__((vector_size(2 * kMany)));
  const int32_t* from = term.from[pixel] + step * term.step;
  int64_t n = 0;
  for (int64_t run = 0; run < term.n_runs; ++run) {
    const int32_t* begin = from + term.runs[run];
    const uint16_t* places = term.places + begin[0];
    const int64_t count = begin[term.pixels] - begin[0];
    const auto shift = static_cast<uint16_t>(term.shift[pixel] + term.run_shift[run]);
    for (int64_t i = 0; i < count; i += kMany) {
      Many many;
      __builtin_memcpy(&many, places + i, sizeof many);
      many += shift;
      __builtin_memcpy(to + n + i, &many, sizeof many);
    }
    n += count;
  }
  for (int i = 0; i < kAtOnce; ++i) {
    to[n + i] = term.none;
  }
  return (n + kAtOnce - 1) / kAtOnce * kAtOnce;
}

// So many bytes add up in 16 bits.
constexpr int64_t kNarrow = 32767 / 128 / kAtOnce * kAtOnce;

// Adds the weights at `n` places to sums [pair][block].
template <int kPairs>
SPIKECONV_INLINE void add_rows(const uint16_t* places, int64_t n, const int8_t* weights,
                               Int (&sums)[kPairs * kPair]) {
  for (int64_t at = 0; at < n;) {
    const int64_t end = n - at < kNarrow ? n : at + kNarrow;
    Short even[kPairs], odd[kPairs];
    SPIKECONV_UNROLL
    for (int i = 0; i < kPairs; ++i) {
      even[i] = odd[i] = no_sum();
    }
    for (; at < end; at += kAtOnce) {
      SPIKECONV_UNROLL
      for (int j = 0; j < kAtOnce; j += 2) {
        const int8_t* row = weights + int64_t{places[at + j]} * 8;
        const int8_t* next = weights + int64_t{places[at + j + 1]} * 8;
        SPIKECONV_UNROLL
        for (int i = 0; i < kPairs; ++i) {
          add_row(even[i], row + i * kPairLanes);
          add_row(odd[i], next + i * kPairLanes);
        }
      }
    }
    SPIKECONV_UNROLL
    for (int i = 0; i < kPairs * kPair; ++i) {
      sums[i] = add(sums[i], widened(plus(even[i / kPair], odd[i / kPair]), i % kPair));
    }
  }
}

// The same of weights that count 2^bits times.
template <int kPairs>
SPIKECONV_INLINE void add_high_rows(const uint16_t* places, int64_t n, const int8_t* weights,
                                    int bits, Int (&sums)[kPairs * kPair]) {
  Int high[kPairs * kPair];
  SPIKECONV_UNROLL
  for (int i = 0; i < kPairs * kPair; ++i) {
    high[i] = zeros();
  }
  add_rows<kPairs>(places, n, weights, high);
  SPIKECONV_UNROLL
  for (int i = 0; i < kPairs * kPair; ++i) {
    sums[i] = add(sums[i], shift_left(high[i], bits));
  }
}

// The pixels' places of a step are all written before the first is read.
template <int kPairs>
SPIKECONV_INLINE void dot_pairs(const IntEventDot& d) {
  constexpr int64_t kRoom = kLargestWindow + kAtOnce + kEventSlack;
  alignas(64) uint16_t places[kPixels * kRoom];
  int32_t* out = d.out;
  for (int64_t t = 0; t < d.steps; ++t) {
    Int sums[kPixels][kPairs * kPair];
    SPIKECONV_UNROLL
    for (int i = 0; i < kPixels * kPairs * kPair; ++i) {
      sums[i / (kPairs * kPair)][i % (kPairs * kPair)] = zeros();
    }
    for (int i = 0; i < d.n_terms; ++i) {
      const IntEventTerm& term = d.terms[i];
      int64_t counts[kPixels];
      uint16_t* to = places;
      for (int p = 0; p < kPixels; ++p) {
        counts[p] = window_places(term, p, t, to);
        to += counts[p];
      }
      to = places;
      for (int p = 0; p < kPixels; ++p) {
        for (int byte = term.bytes - 1; byte > 0; --byte) {
          add_high_rows<kPairs>(to, counts[p], term.rows[byte], 8 * byte, sums[p]);
        }
        add_rows<kPairs>(to, counts[p], term.rows[0], sums[p]);
        to += counts[p];
      }
    }
    for (int p = 0; p < kPixels; ++p) {
      for (int block = 0; block < d.blocks; ++block) {
        store(out, sums[p][block]);
        out += kLanes;
      }
    }
  }
}

static void dot_events(const IntEventDot& d) {
  if (d.blocks <= kPair) {
    dot_pairs<1>(d);
  } else {
    dot_pairs<2>(d);
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
