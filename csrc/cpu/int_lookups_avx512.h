// Sums looked up in tables: IntLookupKernels of int_tile.h. Included inside the integer kernels'
// .cpp files only, once per instruction set with AVX-512.
//
// A permutation looks up 32 words at once in a table that lies in one register, or in two: 5 or 6
// channels' products with as many spikes in one instruction. Tables hold sums as int16.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

constexpr int kWordsAtOnce = 32;  // words or sums in a register

constexpr int kWordBits[] = {6, 5, 5};
constexpr int kTableValues = 64 + 32 + 32;  // of the parts, one after the other

// Registers of sums that are made at once: of some channels, for kRegisters registers of words.
constexpr int kSumsAtOnce = 16;

// Sums, [channel][words].
template <int kRegisters>
using LookupSums = __m512i[kLanes][kRegisters];

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

// Those of some channels from `first` on.
template <int kRegisters>
SPIKECONV_INLINE void look_up(const IntLookupDot& d, int first, LookupSums<kRegisters>& to) {
  constexpr int kChannels = kSumsAtOnce / kRegisters;
  __m512i sums[kSumsAtOnce];
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < kSumsAtOnce; ++i) {
    sums[i] = _mm512_setzero_si512();
  }
  for (int i = 0; i < d.n_terms; ++i) {
    const IntLookupTerm& term = d.terms[i];
    const auto* tables = reinterpret_cast<const int16_t*>(term.tables) + first * kTableValues;
    for (int64_t tap = 0; tap < term.n_taps; ++tap) {
      const uint16_t* at = term.words + term.taps[tap].row + term.taps[tap].column * d.steps;
      __m512i words[kRegisters];
      SPIKECONV_UNROLL_ALL
      for (int r = 0; r < kRegisters; ++r) {
        words[r] = _mm512_loadu_si512(at + r * kWordsAtOnce);
      }
      SPIKECONV_UNROLL_ALL
      for (int c = 0; c < kChannels; ++c) {
        const __m512i low = _mm512_load_si512(tables + c * kTableValues);
        const __m512i high = _mm512_load_si512(tables + c * kTableValues + kWordsAtOnce);
        SPIKECONV_UNROLL_ALL
        for (int r = 0; r < kRegisters; ++r) {
          add_looked_up(sums[c * kRegisters + r], words[r], low, high);
        }
      }
      SPIKECONV_UNROLL_ALL
      for (int part = 1; part < 3; ++part) {
        SPIKECONV_UNROLL_ALL
        for (int r = 0; r < kRegisters; ++r) {
          words[r] = _mm512_maskz_srli_epi16(0xffffffff, words[r], kWordBits[part - 1]);
        }
        SPIKECONV_UNROLL_ALL
        for (int c = 0; c < kChannels; ++c) {
          const __m512i table =
              _mm512_load_si512(tables + c * kTableValues + (1 + part) * kWordsAtOnce);
          SPIKECONV_UNROLL_ALL
          for (int r = 0; r < kRegisters; ++r) {
            add_looked_up(sums[c * kRegisters + r], words[r], table);
          }
        }
      }
      tables += kLanes * kTableValues;
    }
  }
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < kSumsAtOnce; ++i) {
    to[first + i / kRegisters][i % kRegisters] = sums[i];
  }
}

// In each quarter of the registers: eight channels' eight words to eight words' eight channels.
SPIKECONV_INLINE void transpose(__m512i (&a)[8]) {
  constexpr __mmask64 kAll = ~__mmask64{0};
  __m512i b[8];
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm512_maskz_unpacklo_epi16(static_cast<__mmask32>(kAll), a[i], a[i + 1]);
    b[i + 1] = _mm512_maskz_unpackhi_epi16(static_cast<__mmask32>(kAll), a[i], a[i + 1]);
  }
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < 8; i += 4) {
    SPIKECONV_UNROLL_ALL
    for (int j = 0; j < 2; ++j) {
      a[i + 2 * j] = _mm512_maskz_unpacklo_epi32(0xffff, b[i + j], b[i + 2 + j]);
      a[i + 2 * j + 1] = _mm512_maskz_unpackhi_epi32(0xffff, b[i + j], b[i + 2 + j]);
    }
  }
  SPIKECONV_UNROLL_ALL
  for (int j = 0; j < 4; ++j) {
    b[2 * j] = _mm512_maskz_unpacklo_epi64(0xff, a[j], a[4 + j]);
    b[2 * j + 1] = _mm512_maskz_unpackhi_epi64(0xff, a[j], a[4 + j]);
  }
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < 8; ++i) {
    a[i] = b[i];
  }
}

// Writes the sums of the words from `first` on, up to as many as a register has, each to its row.
SPIKECONV_INLINE void store_sums(const IntLookupDot& d, int first, __m512i (&low)[8],
                                 __m512i (&high)[8]) {
  transpose(low);
  transpose(high);
  const __m512i first_half = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
  const __m512i second_half = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
  const auto store = [&](int word, __m256i sums) {
    if (word < d.words) {
      _mm512_storeu_si512(d.out + d.row_of[word] * kLanes,
                          _mm512_maskz_cvtepi16_epi32(0xffff, sums));
    }
  };
  SPIKECONV_UNROLL_ALL
  for (int j = 0; j < 8; ++j) {
    const __m512i halves[2] = {_mm512_permutex2var_epi64(low[j], first_half, high[j]),
                               _mm512_permutex2var_epi64(low[j], second_half, high[j])};
    SPIKECONV_UNROLL_ALL
    for (int i = 0; i < 2; ++i) {
      store(first + 16 * i + j, _mm512_maskz_extracti64x4_epi64(0xff, halves[i], 0));
      store(first + 16 * i + 8 + j, _mm512_maskz_extracti64x4_epi64(0xff, halves[i], 1));
    }
  }
}

template <int kRegisters>
static void dot_words(const IntLookupDot& d) {
  LookupSums<kRegisters> sums;
  for (int first = 0; first < kLanes; first += kSumsAtOnce / kRegisters) {
    look_up<kRegisters>(d, first, sums);
  }
  for (int r = 0; r < kRegisters; ++r) {
    __m512i low[8], high[8];
    SPIKECONV_UNROLL_ALL
    for (int c = 0; c < 8; ++c) {
      low[c] = sums[c][r];
      high[c] = sums[8 + c][r];
    }
    store_sums(d, r * kWordsAtOnce, low, high);
  }
}

static void dot_lookups(const IntLookupDot& d) {
  if (d.words <= kWordsAtOnce) {
    dot_words<1>(d);
  } else if (d.words <= 2 * kWordsAtOnce) {
    dot_words<2>(d);
  } else {
    dot_words<4>(d);
  }
}

// Four pixels at a time: their words of all steps, step by step, then put by pixels.
static void write_words(const uint8_t* spikes, int64_t pixels, int64_t pixel, int steps,
                        int64_t step, uint16_t* to) {
  alignas(64) uint16_t by_step[kTileSteps * kPixels] = {};
  alignas(64) uint16_t source[kTileSteps * kPixels] = {};
  for (int p = 0; p < kPixels; ++p) {
    for (int t = 0; t < steps; ++t) {
      source[p * steps + t] = static_cast<uint16_t>(t * kPixels + p);
    }
  }
  const __m512i first = _mm512_load_si512(source);
  const __m512i second = _mm512_load_si512(source + kWordsAtOnce);
  for (int64_t x = 0; x < pixels; x += kPixels) {
    const uint8_t* from[kPixels];
    for (int p = 0; p < kPixels; ++p) {
      from[p] = spikes + (x + p < pixels ? x + p : pixels - 1) * pixel;
    }
    for (int t = 0; t < steps; ++t) {
      const auto load = [&](int p) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from[p] + t * step));
      };
      __m512i bytes = _mm512_maskz_inserti32x4(0xffff, _mm512_setzero_si512(), load(0), 0);
      bytes = _mm512_maskz_inserti32x4(0xffff, bytes, load(1), 1);
      bytes = _mm512_maskz_inserti32x4(0xffff, bytes, load(2), 2);
      bytes = _mm512_maskz_inserti32x4(0xffff, bytes, load(3), 3);
      const uint64_t fired = _mm512_test_epi8_mask(bytes, bytes);
      __builtin_memcpy(by_step + t * kPixels, &fired, sizeof fired);
    }
    const __m512i low = _mm512_load_si512(by_step);
    const __m512i high = _mm512_load_si512(by_step + kWordsAtOnce);
    uint16_t* row = to + x * steps;
    _mm512_storeu_si512(row, _mm512_permutex2var_epi16(low, first, high));
    if (kPixels * steps > kWordsAtOnce) {
      _mm512_storeu_si512(row + kWordsAtOnce, _mm512_permutex2var_epi16(low, second, high));
    }
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

// With what they cost, IntLookupKernels' costs in their order.
static IntLookupKernels lookup_kernels(float byte, float window, float word) {
  constexpr int64_t kTableBytes = kTableValues * sizeof(int16_t);
  return {write_words, write_table, kTableBytes, dot_lookups, kWordsTogether, byte, window, word};
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
