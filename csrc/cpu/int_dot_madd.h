// The convolutions of a tile by multiplications that add up neighbours, for x86-64 without VNNI.
// Included inside the integer kernels' .cpp files only, once per instruction set; see
// if_multistep_kernel.h why nothing here may have external linkage.
//
// Bytes times bytes add up in 16 bits as long as no sum can leave them, which IntTerm::narrow says,
// and then move to 32 bits. Terms whose very products would not fit are multiplied in 16 bits.
#pragma once

#include "cpu/int_lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

#if SPIKECONV_LANES == 16

using Vector = __m512i;
SPIKECONV_INLINE Vector load_vector(const void* from) { return _mm512_loadu_si512(from); }
SPIKECONV_INLINE void store_vector(void* to, Vector a) { _mm512_storeu_si512(to, a); }
SPIKECONV_INLINE Vector zero_vector() { return _mm512_setzero_si512(); }
SPIKECONV_INLINE Vector broadcast_32(int32_t a) { return _mm512_set1_epi32(a); }
SPIKECONV_INLINE Vector broadcast_16(int16_t a) { return _mm512_set1_epi16(a); }
SPIKECONV_INLINE Vector and_bits(Vector a, Vector b) { return _mm512_and_si512(a, b); }
SPIKECONV_INLINE Vector add_32(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
SPIKECONV_INLINE Vector add_16(Vector a, Vector b) { return _mm512_add_epi16(a, b); }
SPIKECONV_INLINE Vector madd_16(Vector a, Vector b) { return _mm512_madd_epi16(a, b); }
SPIKECONV_INLINE Vector madd_8(Vector a, Vector b) { return _mm512_maddubs_epi16(a, b); }
SPIKECONV_INLINE Vector up_8(Vector a) { return _mm512_slli_epi16(a, 8); }
SPIKECONV_INLINE Vector down_8(Vector a) { return _mm512_srli_epi16(a, 8); }
SPIKECONV_INLINE Vector signed_down_8(Vector a) { return _mm512_srai_epi16(a, 8); }
SPIKECONV_INLINE Vector up_8_of_32(Vector a) { return _mm512_maskz_slli_epi32(0xffff, a, 8); }

#elif SPIKECONV_LANES == 8

using Vector = __m256i;
SPIKECONV_INLINE Vector load_vector(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
SPIKECONV_INLINE void store_vector(void* to, Vector a) {
  _mm256_storeu_si256(static_cast<__m256i*>(to), a);
}
SPIKECONV_INLINE Vector zero_vector() { return _mm256_setzero_si256(); }
SPIKECONV_INLINE Vector broadcast_32(int32_t a) { return _mm256_set1_epi32(a); }
SPIKECONV_INLINE Vector broadcast_16(int16_t a) { return _mm256_set1_epi16(a); }
SPIKECONV_INLINE Vector and_bits(Vector a, Vector b) { return _mm256_and_si256(a, b); }
SPIKECONV_INLINE Vector add_32(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
SPIKECONV_INLINE Vector add_16(Vector a, Vector b) { return _mm256_add_epi16(a, b); }
SPIKECONV_INLINE Vector madd_16(Vector a, Vector b) { return _mm256_madd_epi16(a, b); }
SPIKECONV_INLINE Vector madd_8(Vector a, Vector b) { return _mm256_maddubs_epi16(a, b); }
SPIKECONV_INLINE Vector up_8(Vector a) { return _mm256_slli_epi16(a, 8); }
SPIKECONV_INLINE Vector down_8(Vector a) { return _mm256_srli_epi16(a, 8); }
SPIKECONV_INLINE Vector signed_down_8(Vector a) { return _mm256_srai_epi16(a, 8); }
SPIKECONV_INLINE Vector up_8_of_32(Vector a) { return _mm256_slli_epi32(a, 8); }

#else

using Vector = __m128i;
SPIKECONV_INLINE Vector load_vector(const void* from) {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}
SPIKECONV_INLINE void store_vector(void* to, Vector a) {
  _mm_storeu_si128(static_cast<__m128i*>(to), a);
}
SPIKECONV_INLINE Vector zero_vector() { return _mm_setzero_si128(); }
SPIKECONV_INLINE Vector broadcast_32(int32_t a) { return _mm_set1_epi32(a); }
SPIKECONV_INLINE Vector broadcast_16(int16_t a) { return _mm_set1_epi16(a); }
SPIKECONV_INLINE Vector and_bits(Vector a, Vector b) { return _mm_and_si128(a, b); }
SPIKECONV_INLINE Vector add_32(Vector a, Vector b) { return _mm_add_epi32(a, b); }
SPIKECONV_INLINE Vector madd_16(Vector a, Vector b) { return _mm_madd_epi16(a, b); }
SPIKECONV_INLINE Vector up_8(Vector a) { return _mm_slli_epi16(a, 8); }
SPIKECONV_INLINE Vector down_8(Vector a) { return _mm_srli_epi16(a, 8); }
SPIKECONV_INLINE Vector signed_down_8(Vector a) { return _mm_srai_epi16(a, 8); }
SPIKECONV_INLINE Vector up_8_of_32(Vector a) { return _mm_slli_epi32(a, 8); }

#endif

// Vectors of channels that are computed together, so that they and what they are made of fit in
// 16 registers.
constexpr int kTogether = kLanes / SPIKECONV_LANES > 1 ? 2 : 1;

// Where the sums of one step and some channels are: [pixel], `pixel` values apart.
struct Target {
  int32_t* out;
  int64_t pixel;

  int32_t* at(int p, int v) const { return out + p * pixel + v * SPIKECONV_LANES; }
};

// Four bytes of a pixel, in every channel's lane.
SPIKECONV_INLINE Vector broadcast(const uint8_t* from) {
  int32_t quad;
  __builtin_memcpy(&quad, from, sizeof quad);
  return broadcast_32(quad);
}

#if SPIKECONV_LANES > 4

static void add_narrow(const IntTerm& term, int64_t offset, const int8_t* weights,
                       const Target& to) {
  const uint8_t* base = term.spikes[0] + offset;
  const int64_t second = term.spikes[1] - term.spikes[0];
  const int64_t third = term.spikes[2] - term.spikes[0];
  const int64_t fourth = term.spikes[3] - term.spikes[0];
  Vector sums[kPixels][kTogether];
  SPIKECONV_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    SPIKECONV_UNROLL
    for (int v = 0; v < kTogether; ++v) {
      sums[p][v] = zero_vector();
    }
  }
  int64_t room = term.narrow;
  for (int64_t run = 0; run < term.n_runs; ++run) {
    const uint8_t* from = base + term.runs[run];
    for (int64_t left = term.quads; left > 0;) {
      const int64_t now = left < room ? left : room;
      for (const uint8_t* end = from + 4 * now; from != end; from += 4) {
        const Vector spikes[kPixels] = {broadcast(from), broadcast(from + second),
                                        broadcast(from + third), broadcast(from + fourth)};
        SPIKECONV_UNROLL
        for (int v = 0; v < kTogether; ++v) {
          const Vector w = load_vector(weights + v * 4 * SPIKECONV_LANES);
          SPIKECONV_UNROLL
          for (int p = 0; p < kPixels; ++p) {
            sums[p][v] = add_16(sums[p][v], madd_8(spikes[p], w));
          }
        }
        weights += kLanes * 4;
      }
      left -= now;
      room -= now;
      if (room == 0 || (left == 0 && run + 1 == term.n_runs)) {
        room = term.narrow;
        SPIKECONV_UNROLL
        for (int p = 0; p < kPixels; ++p) {
          SPIKECONV_UNROLL
          for (int v = 0; v < kTogether; ++v) {
            int32_t* at = to.at(p, v);
            store_vector(at, add_32(load_vector(at), madd_16(sums[p][v], broadcast_16(1))));
            sums[p][v] = zero_vector();
          }
        }
      }
    }
  }
}

#endif

// Even and odd bytes apart, each in 16 bits.
static void add_wide(const IntTerm& term, int64_t offset, const int8_t* weights, const Target& to) {
  const Vector low = broadcast_16(255);
  Vector sums[kPixels][kTogether];
  SPIKECONV_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    SPIKECONV_UNROLL
    for (int v = 0; v < kTogether; ++v) {
      sums[p][v] = load_vector(to.at(p, v));
    }
  }
  for (int64_t run = 0; run < term.n_runs; ++run) {
    const int64_t from = offset + term.runs[run];
    for (int64_t byte = 0; byte < 4 * term.quads; byte += 4) {
      SPIKECONV_UNROLL
      for (int v = 0; v < kTogether; ++v) {
        const Vector w = load_vector(weights + v * 4 * SPIKECONV_LANES);
        const Vector even = signed_down_8(up_8(w)), odd = signed_down_8(w);
        SPIKECONV_UNROLL
        for (int p = 0; p < kPixels; ++p) {
          const Vector spikes = broadcast(term.spikes[p] + from + byte);
          const Vector sum = add_32(sums[p][v], madd_16(and_bits(spikes, low), even));
          sums[p][v] = add_32(sum, madd_16(down_8(spikes), odd));
        }
      }
      weights += kLanes * 4;
    }
  }
  SPIKECONV_UNROLL
  for (int p = 0; p < kPixels; ++p) {
    SPIKECONV_UNROLL
    for (int v = 0; v < kTogether; ++v) {
      store_vector(to.at(p, v), sums[p][v]);
    }
  }
}

SPIKECONV_INLINE void add_term(const IntTerm& term, int64_t offset, int64_t skipped,
                               const Target& to) {
#if SPIKECONV_LANES > 4
  if (term.narrow > 0) {
    return add_narrow(term, offset, term.weights + skipped, to);
  }
#endif
  add_wide(term, offset, term.weights + skipped, to);
}

static void dot(const IntDot& d) {
  const int64_t pixel = d.blocks * kLanes;
  for (int t = 0; t < d.steps; ++t) {
    for (int first = 0; first < d.blocks * kLanes; first += kTogether * SPIKECONV_LANES) {
      const Target to{d.out + t * kPixels * pixel + first, pixel};
      const int64_t in_block = first % kLanes * 4;
      SPIKECONV_UNROLL
      for (int i = 0; i < kPixels * kTogether; ++i) {
        store_vector(to.at(i / kTogether, i % kTogether), zero_vector());
      }
      for (int i = 0; i < d.n_terms; ++i) {
        if (i == d.n_high && i > 0) {
          SPIKECONV_UNROLL
          for (int j = 0; j < kPixels * kTogether; ++j) {
            int32_t* at = to.at(j / kTogether, j % kTogether);
            store_vector(at, up_8_of_32(load_vector(at)));
          }
        }
        const IntTerm& term = d.terms[i];
        add_term(term, t * term.step, first / kLanes * term.block_bytes + in_block, to);
      }
    }
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
