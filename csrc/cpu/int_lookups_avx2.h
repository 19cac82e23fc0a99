// Sums looked up in tables: IntLookupKernels of int_tile.h. Included inside the integer kernels'
// .cpp file for AVX2 only.
//
// A shuffle of bytes looks up 32 words at once in a table of 16 bytes: four channels' products with
// as many spikes. A sum of four weights has ten bits, so a table holds it as two bytes of five,
// which add up in bytes for two words, and then move to 16 bits.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

constexpr int kWordsAtOnce = 32;
constexpr int kWordParts = 4;  // of a word, of four bits each
constexpr int kTable = 16;     // bytes of one
constexpr int kTableBytes = kWordParts * 2 * kTable;

// A sum of four weights is (high + kLowest) * kUnit + low, where high and low are below kUnit.
constexpr int kUnit = 32;
constexpr int kLowest = -16;
static_assert(kLowest * kUnit <= 4 * -128 && (kUnit + kLowest) * kUnit > 4 * 127);
static_assert(2 * kWordParts * (kUnit - 1) <= 255);  // bytes of two taps

// What a window's words, all taps of all terms, are looked up by: [tap][part][register].
constexpr int kMostTaps = kLargestLookup / kLanes;
template <int kRegisters>
using Indices = __m256i[kMostTaps][kWordParts][kRegisters];

// Bits of 32 words, part by part, a byte each: in the order that comes of packing words, and that
// unpacking bytes takes back.
template <int kRegisters>
SPIKECONV_INLINE void index(const uint16_t* words, __m256i (&to)[kWordParts][kRegisters]) {
  const __m256i byte = _mm256_set1_epi16(0xff), bits = _mm256_set1_epi8(0xf);
  SPIKECONV_UNROLL
  for (int r = 0; r < kRegisters; ++r) {
    const auto* from = reinterpret_cast<const __m256i*>(words + r * kWordsAtOnce);
    const __m256i a = _mm256_loadu_si256(from), b = _mm256_loadu_si256(from + 1);
    const __m256i low = _mm256_packus_epi16(_mm256_and_si256(a, byte), _mm256_and_si256(b, byte));
    const __m256i high = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
    to[0][r] = _mm256_and_si256(low, bits);
    to[1][r] = _mm256_and_si256(_mm256_srli_epi16(low, 4), bits);
    to[2][r] = _mm256_and_si256(high, bits);
    to[3][r] = _mm256_and_si256(_mm256_srli_epi16(high, 4), bits);
  }
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

// The sums of an output channel, words in their order.
template <int kRegisters>
SPIKECONV_INLINE void look_up(const IntLookupDot& d, int channel,
                              const Indices<kRegisters>& indices, int n_taps, int16_t* to) {
  constexpr int64_t kTapBytes = kLanes * kTableBytes;
  const auto start = static_cast<int16_t>(kLowest * kUnit * kWordParts * n_taps);  // modulo 2^16
  __m256i sums[kRegisters][2];
  SPIKECONV_UNROLL
  for (int r = 0; r < kRegisters; ++r) {
    sums[r][0] = sums[r][1] = _mm256_set1_epi16(start);
  }
  const __m256i(*at)[kWordParts][kRegisters] = indices;
  ByteSums<kRegisters> bytes;
  for (int i = 0; i < d.n_terms; ++i) {
    const uint8_t* tables = d.terms[i].tables + channel * kTableBytes;
    for (int64_t pair = d.terms[i].n_taps / 2; pair > 0; --pair) {
      bytes.template add<true>(tables, at[0]);
      bytes.template add<false>(tables + kTapBytes, at[1]);
      bytes.add_to(sums);
      tables += 2 * kTapBytes;
      at += 2;
    }
    if (d.terms[i].n_taps % 2 != 0) {
      bytes.template add<true>(tables, *at++);
      bytes.add_to(sums);
    }
  }
  SPIKECONV_UNROLL
  for (int i = 0; i < 2 * kRegisters; ++i) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(to) + i, sums[i / 2][i % 2]);
  }
}

// Writes the sums of eight words, [16 channels] at a distance, each word's to its row.
SPIKECONV_INLINE void store_sums(const IntLookupDot& d, int first, const int16_t* sums, int apart) {
  __m256i a[8], b[8];  // of eight channels, then of the other eight, in its half
  SPIKECONV_UNROLL
  for (int c = 0; c < 8; ++c) {
    const auto* low = reinterpret_cast<const __m128i*>(sums + c * apart);
    const auto* high = reinterpret_cast<const __m128i*>(sums + (8 + c) * apart);
    a[c] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_load_si128(low)),
                                   _mm_load_si128(high), 1);
  }
  SPIKECONV_UNROLL
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_epi16(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_epi16(a[i], a[i + 1]);
  }
  SPIKECONV_UNROLL
  for (int i = 0; i < 8; i += 4) {
    SPIKECONV_UNROLL
    for (int j = 0; j < 2; ++j) {
      a[i + 2 * j] = _mm256_unpacklo_epi32(b[i + j], b[i + 2 + j]);
      a[i + 2 * j + 1] = _mm256_unpackhi_epi32(b[i + j], b[i + 2 + j]);
    }
  }
  SPIKECONV_UNROLL
  for (int j = 0; j < 8; ++j) {
    if (first + j >= d.words) {
      break;
    }
    const __m256i word = j % 2 == 0 ? _mm256_unpacklo_epi64(a[j / 2], a[4 + j / 2])
                                    : _mm256_unpackhi_epi64(a[j / 2], a[4 + j / 2]);
    auto* row = reinterpret_cast<__m256i*>(d.out + d.row_of[first + j] * kLanes);
    _mm256_storeu_si256(row, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(word)));
    _mm256_storeu_si256(row + 1, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(word, 1)));
  }
}

// Of the words from `first` on.
template <int kRegisters>
static void dot_words(const IntLookupDot& d, int first) {
  constexpr int kWords = kRegisters * kWordsAtOnce;
  Indices<kRegisters> indices;
  int n_taps = 0;
  for (int i = 0; i < d.n_terms; ++i) {
    const IntLookupTerm& term = d.terms[i];
    for (int64_t tap = 0; tap < term.n_taps; ++tap) {
      index(term.words + term.taps[tap].row + term.taps[tap].column * d.steps + first,
            indices[n_taps++]);
    }
  }
  alignas(64) int16_t sums[kLanes * kWords];
  for (int channel = 0; channel < kLanes; ++channel) {
    look_up(d, channel, indices, n_taps, sums + channel * kWords);
  }
  for (int word = 0; word < kWords && first + word < d.words; word += 8) {
    store_sums(d, first + word, sums + word, kWords);
  }
}

static void dot_lookups(const IntLookupDot& d) {
  for (int first = 0; first < d.words; first += 2 * kWordsAtOnce) {
    if (d.words - first <= kWordsAtOnce) {
      dot_words<1>(d, first);
    } else {
      dot_words<2>(d, first);
    }
  }
}

static void write_words(const uint8_t* spikes, int64_t pixels, int64_t pixel, int steps,
                        int64_t step, uint16_t* to) {
  for (int64_t x = 0; x < pixels; ++x) {
    for (int t = 0; t < steps; ++t) {
      const auto* from = reinterpret_cast<const __m128i*>(spikes + x * pixel + t * step);
      const __m128i fired = _mm_slli_epi16(_mm_loadu_si128(from), 7);  // bytes are 0 or 1
      *to++ = static_cast<uint16_t>(_mm_movemask_epi8(fired));
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

// With what they cost, IntLookupKernels' costs in their order.
static IntLookupKernels lookup_kernels(float byte, float window, float word) {
  return {write_words, write_table, kTableBytes, dot_lookups, kWordsAtOnce, byte, window, word};
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
