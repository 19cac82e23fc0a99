// Weights added up at the places of spikes: IntEventDot of int_tile.h, and the lists it reads.
// Included inside the integer kernels' .cpp files only, once per instruction set.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// Bytes of 0 or 1, 64 of them, as bits.
SPIKECONV_INLINE uint64_t fired(const uint8_t* from) {
#if SPIKECONV_LANES == 16
  const __m512i bytes = _mm512_loadu_si512(from);
  return _mm512_test_epi8_mask(bytes, bytes);
#elif SPIKECONV_LANES == 8
  const auto half = [&](int at) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + at));
    return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_slli_epi16(bytes, 7)));
  };
  return half(0) | static_cast<uint64_t>(half(32)) << 32;
#elif defined(SPIKECONV_X86)
  uint64_t bits = 0;
  for (int i = 0; i < 4; ++i) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 16 * i));
    bits |= static_cast<uint64_t>(_mm_movemask_epi8(_mm_slli_epi16(bytes, 7))) << 16 * i;
  }
  return bits;
#else
  uint64_t bits = 0;
  for (int i = 0; i < 64; ++i) {
    bits |= static_cast<uint64_t>(from[i]) << i;
  }
  return bits;
#endif
}

SPIKECONV_INLINE uint64_t lowest(int64_t count) {
  return count < 64 ? (uint64_t{1} << count) - 1 : ~uint64_t{0};
}

typedef uint16_t EightPlaces __attribute__((vector_size(16)));

// The places of the bits of a byte, and how many there are.
struct PlacesOfByte {
  alignas(16) uint16_t places[256][8];
  uint8_t counts[256];

  constexpr PlacesOfByte() : places(), counts() {
    for (int byte = 0; byte < 256; ++byte) {
      for (int bit = 0; bit < 8; ++bit) {
        if ((byte >> bit & 1) != 0) {
          places[byte][counts[byte]++] = static_cast<uint16_t>(4 * bit);
        }
      }
    }
  }
};
static constexpr PlacesOfByte kOfByte;

static int32_t list_events(const uint8_t* spikes, int64_t pixels, int64_t channels,
                           uint16_t* places, int32_t at, int32_t* from) {
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    from[pixel] = at;
    for (int64_t channel = 0; channel < channels; channel += 64) {
      const int64_t first = pixel * channels + channel;
      uint64_t bits = fired(spikes + first) & lowest(channels - channel);
      auto place = static_cast<uint16_t>(4 * first);
      while (bits != 0) {
        const int zeros = __builtin_ctzll(bits) & ~7;
        bits >>= zeros;
        place = static_cast<uint16_t>(place + 4 * zeros);
        const auto byte = static_cast<uint8_t>(bits);
        EightPlaces eight;
        __builtin_memcpy(&eight, kOfByte.places[byte], sizeof eight);
        eight += place;
        __builtin_memcpy(places + at, &eight, sizeof eight);
        at += kOfByte.counts[byte];
        bits &= ~uint64_t{0xff};
      }
    }
  }
  from[pixels] = at;
  return at;
}

static int64_t count_events(const uint8_t* spikes, int64_t bytes) {
  int64_t count = 0;
  for (int64_t at = 0; at < bytes; at += 64) {
    count += __builtin_popcountll(fired(spikes + at) & lowest(bytes - at));
  }
  return count;
}

// Sums of 16 bits for the 32 channels of two blocks.
constexpr int kEventLanes = kBlocks * kLanes;

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
  const __m256i half = block == 0 ? _mm512_castsi512_si256(sum.value)
                                  : _mm512_maskz_extracti64x4_epi64(0xff, sum.value, 1);
  return {_mm512_maskz_cvtepi16_epi32(0xffff, half)};
}

#elif SPIKECONV_LANES == 8

struct Short {
  __m256i blocks[kBlocks];
};
SPIKECONV_INLINE Short no_sum() { return {{_mm256_setzero_si256(), _mm256_setzero_si256()}}; }
SPIKECONV_INLINE void add_row(Short& sum, const int8_t* row) {
  SPIKECONV_UNROLL
  for (int i = 0; i < kBlocks; ++i) {
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
constexpr int kShortParts = kEventLanes / 8;
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
  for (int i = 0; i < kEventLanes; ++i) {
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
  typedef uint16_t Places __attribute__((vector_size(2 * kMany)));
  const int32_t* from = term.from[pixel] + step * term.step;
  int64_t n = 0;
  for (int64_t run = 0; run < term.n_runs; ++run) {
    const int32_t* begin = from + term.runs[run];
    const uint16_t* places = term.places + begin[0];
    const int64_t count = begin[term.pixels] - begin[0];
    const auto shift = static_cast<uint16_t>(term.shift[pixel] + term.run_shift[run]);
    for (int64_t i = 0; i < count; i += kMany) {
      Places many;
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

static void dot_events(const IntEventDot& d) {
  alignas(64) uint16_t places[kLargestWindow + 1 + kEventSlack];
  int32_t* out = d.out;
  for (int64_t t = 0; t < d.steps; ++t) {
    for (int p = 0; p < kPixels; ++p) {
      Int sums[kBlocks] = {zeros(), zeros()};
      for (int i = 0; i < d.n_terms; ++i) {
        if (i == d.n_high && i > 0) {
          SPIKECONV_UNROLL
          for (Int& sum : sums) {
            sum = shift_left(sum, 8);
          }
        }
        const IntEventTerm& term = d.terms[i];
        const int64_t n = window_places(term, p, t, places);
        const int8_t* weights = term.weights;
        for (int64_t at = 0; at < n;) {
          const int64_t end = n - at < kNarrow ? n : at + kNarrow;
          Short a = no_sum(), b = no_sum();
          for (; at < end; at += kAtOnce) {
            add_row(a, weights + int64_t{places[at]} * 8);
            add_row(b, weights + int64_t{places[at + 1]} * 8);
            add_row(a, weights + int64_t{places[at + 2]} * 8);
            add_row(b, weights + int64_t{places[at + 3]} * 8);
          }
          a = plus(a, b);
          SPIKECONV_UNROLL
          for (int block = 0; block < kBlocks; ++block) {
            sums[block] = add(sums[block], widened(a, block));
          }
        }
      }
      for (int block = 0; block < d.blocks; ++block) {
        store(out, sums[block]);
        out += kLanes;
      }
    }
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
