// Sums looked up by AVX2, in bytes. Included inside the integer kernels' .cpp file for AVX2 only.
//
// A shuffle of bytes looks up 32 words at once in a table of 16 bytes: four channels' products with
// as many spikes. A sum of four weights has ten bits, so a table holds it as two bytes of five,
// which add up in bytes for two words, and then move to 16 bits.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

constexpr int kWordParts = 4;  // of a word, of four bits each
constexpr int kTable = 16;     // bytes of one
constexpr int kTableBytes = kWordParts * 2 * kTable;

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

}  // namespace spikeconv::cpu::SPIKECONV_ISA
