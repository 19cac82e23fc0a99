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

// A vector register's letter in assembly.
#if SPIKECONV_LANES == 16
#define SPIKECONV_REGISTER "v"
#else
#define SPIKECONV_REGISTER "x"
#endif

// Where the sums of one step and some vectors of channels are: [pixel][vector].
struct Target {
  int32_t* out;
  int64_t pixel;  // values from pixel to pixel

  int32_t* at(int p, int v) const { return out + p * pixel + v * SPIKECONV_LANES; }
};

// Four bytes of a pixel, in every channel's lane.
SPIKECONV_INLINE Vector broadcast(const uint8_t* from) {
  int32_t quad;
  __builtin_memcpy(&quad, from, sizeof quad);
  return broadcast_32(quad);
}

// From a vector's weights to those of the next: in the same block, or in the next one where one
// vector has a whole block.
SPIKECONV_INLINE int64_t weights_apart(const IntTerm& term) {
  return SPIKECONV_LANES == kLanes ? term.block_bytes : 4 * SPIKECONV_LANES;
}

#if SPIKECONV_LANES > 4

template <int kCount>
static void add_narrow(const IntTerm& term, int64_t offset, const int8_t* weights,
                       const Target& to) {
  const uint8_t* base = term.spikes[0] + offset;
  const int64_t second = term.spikes[1] - term.spikes[0];
  const int64_t third = term.spikes[2] - term.spikes[0];
  const int64_t fourth = term.spikes[3] - term.spikes[0];
  const int64_t apart = weights_apart(term);
  Vector sums[kPixels][kCount];
  SPIKECONV_UNROLL
  for (int i = 0; i < kPixels * kCount; ++i) {
    sums[i / kCount][i % kCount] = zero_vector();
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
        for (int v = 0; v < kCount; ++v) {
          const Vector w = load_vector(weights + v * apart);
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
        for (int i = 0; i < kPixels * kCount; ++i) {
          Vector& sum = sums[i / kCount][i % kCount];
          int32_t* at = to.at(i / kCount, i % kCount);
          store_vector(at, add_32(load_vector(at), madd_16(sum, broadcast_16(1))));
          sum = zero_vector();
        }
      }
    }
  }
}

#endif

// Even and odd bytes apart, each in 16 bits.
template <int kCount>
static void add_wide(const IntTerm& term, int64_t offset, const int8_t* weights, const Target& to) {
  const Vector low = broadcast_16(255);
  const int64_t apart = weights_apart(term);
  Vector sums[kPixels][kCount];
  SPIKECONV_UNROLL
  for (int i = 0; i < kPixels * kCount; ++i) {
    sums[i / kCount][i % kCount] = load_vector(to.at(i / kCount, i % kCount));
  }
  for (int64_t run = 0; run < term.n_runs; ++run) {
    const int64_t from = offset + term.runs[run];
    for (int64_t byte = 0; byte < 4 * term.quads; byte += 4) {
      SPIKECONV_UNROLL
      for (int v = 0; v < kCount; ++v) {
        const Vector w = load_vector(weights + v * apart);
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
  for (int i = 0; i < kPixels * kCount; ++i) {
    store_vector(to.at(i / kCount, i % kCount), sums[i / kCount][i % kCount]);
  }
}

// One step of kCount neighbouring vectors of channels, from a channel of a block on.
template <int kCount>
SPIKECONV_INLINE void dot_vectors(const IntDot& d, int t, int block, int channel,
                                  const Target& to) {
  SPIKECONV_UNROLL
  for (int i = 0; i < kPixels * kCount; ++i) {
    store_vector(to.at(i / kCount, i % kCount), zero_vector());
  }
  for (int i = 0; i < d.n_terms; ++i) {
    if (d.terms[i].up) {
      SPIKECONV_UNROLL
      for (int j = 0; j < kPixels * kCount; ++j) {
        int32_t* at = to.at(j / kCount, j % kCount);
        store_vector(at, up_8_of_32(load_vector(at)));
      }
    }
    const IntTerm& term = d.terms[i];
    const int8_t* weights = term.weights + block * term.block_bytes + channel * 4;
#if SPIKECONV_LANES > 4
    if (term.narrow > 0) {
      add_narrow<kCount>(term, t * term.step, weights, to);
      continue;
    }
#endif
    add_wide<kCount>(term, t * term.step, weights, to);
  }
}

// Two vectors share each broadcast: both halves of a block, or the same place of two blocks where
// one vector has a whole block.
static void dot(const IntDot& d) {
  const int64_t pixel = d.blocks * kLanes;
  for (int t = 0; t < d.steps; ++t) {
    int32_t* out = d.out + t * kPixels * pixel;
#if SPIKECONV_LANES == 16
    if (d.blocks == 2) {
      dot_vectors<2>(d, t, 0, 0, {out, pixel});
    } else {
      dot_vectors<1>(d, t, 0, 0, {out, pixel});
    }
#else
    for (int block = 0; block < d.blocks; ++block) {
      for (int at = 0; at < kLanes; at += 2 * SPIKECONV_LANES) {
        dot_vectors<2>(d, t, block, at, {out + block * kLanes + at, pixel});
      }
    }
#endif
  }
}

static int64_t bare(int64_t rounds) {
  constexpr int kSums = 8;
  Vector sums[kSums];
  SPIKECONV_UNROLL
  for (int i = 0; i < kSums; ++i) {
    sums[i] = broadcast_32(i);
  }
  Vector spikes = broadcast_32(0x01000100);
  const Vector weights = broadcast_32(0x02ff0301);
  for (int64_t round = 0; round < rounds; ++round) {
    SPIKECONV_UNROLL
    for (int i = 0; i < kSums; ++i) {
      asm volatile("" : "+" SPIKECONV_REGISTER(spikes));  // else one product would do for all
#if SPIKECONV_LANES > 4
      sums[i] = add_16(sums[i], madd_8(spikes, weights));
#else
      sums[i] = add_32(sums[i], madd_16(spikes, weights));
#endif
    }
  }
  SPIKECONV_UNROLL
  for (int i = 0; i < kSums; ++i) {
    asm volatile("" : : SPIKECONV_REGISTER(sums[i]));
  }
  return rounds * kSums * SPIKECONV_LANES * (SPIKECONV_LANES > 4 ? 4 : 2);
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
