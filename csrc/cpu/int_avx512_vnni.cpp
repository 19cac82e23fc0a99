// Integer layers with AVX-512 VNNI: one instruction multiplies four bytes of a pixel by the weights
// of 16 channels and adds them up.
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#endif

#define SPIKECONV_ISA avx512_vnni
#define SPIKECONV_LANES 16
#include "cpu/int_scan.h"

namespace spikeconv::cpu::avx512_vnni {

// Four bytes of a pixel in every channel's lane.
SPIKECONV_INLINE __m512i broadcast(const uint8_t* from) {
  int32_t quad;
  __builtin_memcpy(&quad, from, sizeof quad);
  return _mm512_set1_epi32(quad);
}

// Hides from the compiler how pointers are related: it would keep one for each of the 16 rows, more
// than there are registers, where pointer plus index is free.
SPIKECONV_INLINE const uint8_t* opaque(const uint8_t* pointer) {
  asm("" : "+r"(pointer));
  return pointer;
}

// Adds one term for kSteps steps of all pixels and kCount blocks.
template <int kSteps, int kCount>
SPIKECONV_INLINE void add_term(const IntTerm& term, int64_t first,
                               __m512i (&acc)[kSteps][kPixels][kCount]) {
  const uint8_t* base = term.spikes[0] + first * term.step;
  const int64_t second = term.spikes[1] - term.spikes[0];
  const int64_t third = term.spikes[2] - term.spikes[0];
  const int64_t fourth = term.spikes[3] - term.spikes[0];
  const int8_t* weights = term.weights;
  for (int64_t run = 0; run < term.n_runs; ++run) {
    const uint8_t* rows[kSteps];
    SPIKECONV_UNROLL
    for (int t = 0; t < kSteps; ++t) {
      rows[t] = base + term.runs[run] + t * term.step;
    }
    for (int64_t quad = 0; quad < term.quads; ++quad) {
      __m512i w[kCount];
      SPIKECONV_UNROLL
      for (int n = 0; n < kCount; ++n) {
        w[n] = _mm512_loadu_si512(weights + n * term.block_bytes);
      }
      SPIKECONV_UNROLL
      for (int t = 0; t < kSteps; ++t) {
        rows[t] = opaque(rows[t]);
        const __m512i spikes[kPixels] = {broadcast(rows[t]), broadcast(rows[t] + second),
                                         broadcast(rows[t] + third), broadcast(rows[t] + fourth)};
        SPIKECONV_UNROLL
        for (int p = 0; p < kPixels; ++p) {
          SPIKECONV_UNROLL
          for (int n = 0; n < kCount; ++n) {
            acc[t][p][n] = _mm512_dpbusd_epi32(acc[t][p][n], spikes[p], w[n]);
          }
        }
        rows[t] += 4;
      }
      weights += kLanes * 4;
    }
  }
}

template <int kSteps, int kCount>
SPIKECONV_INLINE void dot_steps(const IntDot& d, int64_t first) {
  __m512i acc[kSteps][kPixels][kCount];
  SPIKECONV_UNROLL
  for (int i = 0; i < kSteps * kPixels * kCount; ++i) {
    (&acc[0][0][0])[i] = _mm512_setzero_si512();
  }
  for (int i = 0; i < d.n_high; ++i) {
    add_term<kSteps, kCount>(d.terms[i], first, acc);
  }
  if (d.n_high > 0) {
    SPIKECONV_UNROLL
    for (int i = 0; i < kSteps * kPixels * kCount; ++i) {
      (&acc[0][0][0])[i] = _mm512_maskz_slli_epi32(0xffff, (&acc[0][0][0])[i], 8);
    }
  }
  for (int i = d.n_high; i < d.n_terms; ++i) {
    add_term<kSteps, kCount>(d.terms[i], first, acc);
  }
  int32_t* out = d.out + first * kPixels * kCount * kLanes;
  SPIKECONV_UNROLL
  for (int i = 0; i < kSteps * kPixels * kCount; ++i) {
    _mm512_storeu_si512(out + i * kLanes, (&acc[0][0][0])[i]);
  }
}

// Two blocks share each broadcast byte, so eight rows suffice to fill the registers; one block
// takes 16 rows.
static void dot(const IntDot& d) {
  int t = 0;
  if (d.blocks == 2) {
    if (d.steps % 2 != 0 && d.steps >= 3) {
      dot_steps<3, 2>(d, 0);
      t = 3;
    }
    for (; t + 2 <= d.steps; t += 2) {
      dot_steps<2, 2>(d, t);
    }
    if (t < d.steps) {
      dot_steps<1, 2>(d, t);
    }
    return;
  }
  for (; t + 4 <= d.steps; t += 4) {
    dot_steps<4, 1>(d, t);
  }
  switch (d.steps - t) {
    case 3:
      return dot_steps<3, 1>(d, t);
    case 2:
      return dot_steps<2, 1>(d, t);
    case 1:
      return dot_steps<1, 1>(d, t);
  }
}

IntKernels int_kernels() { return {dot, scan, 4}; }

}  // namespace spikeconv::cpu::avx512_vnni

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
