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
#define SPIKECONV_VNNI
#include "cpu/int_lanes.h"

namespace spikeconv::cpu::avx512_vnni {

// Sums of kSteps steps of all pixels, for kCount blocks: what stays in registers.
template <int kSteps, int kCount>
using Sums = __m512i[kSteps][kPixels][kCount];

// Four bytes of a pixel in every channel's lane.
SPIKECONV_INLINE __m512i broadcast(const uint8_t* from) {
  int32_t quad;
  __builtin_memcpy(&quad, from, sizeof quad);
  return _mm512_set1_epi32(quad);
}

// Around the intrinsic GCC 12 would copy the sum to another register and back.
SPIKECONV_INLINE void add_products(__m512i& sum, __m512i spikes, __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(spikes), "v"(weights));
}

// Hides from the compiler how pointers are related: it would keep one for each of 16 rows, more
// than there are registers, where pointer plus index is free.
SPIKECONV_INLINE const uint8_t* opaque(const uint8_t* pointer) {
  asm("" : "+r"(pointer));
  return pointer;
}

// The pixels' windows anywhere: four broadcasts for each step, shared by the blocks.
template <int kSteps, int kCount>
SPIKECONV_INLINE void add_term(const IntTerm& term, int64_t first, Sums<kSteps, kCount>& sums) {
  const uint8_t* base = term.spikes[0] + first * term.step;
  const int64_t second = term.spikes[1] - term.spikes[0];
  const int64_t third = term.spikes[2] - term.spikes[0];
  const int64_t fourth = term.spikes[3] - term.spikes[0];
  const int8_t* weights = term.weights;
  for (int64_t run = 0; run < term.n_runs; ++run) {
    const uint8_t* rows[kSteps];
    SPIKECONV_UNROLL_ALL
    for (int t = 0; t < kSteps; ++t) {
      rows[t] = base + term.runs[run] + t * term.step;
    }
    for (int64_t quad = 0; quad < term.quads; ++quad) {
      __m512i w[kCount];
      SPIKECONV_UNROLL_ALL
      for (int n = 0; n < kCount; ++n) {
        w[n] = _mm512_loadu_si512(weights + n * term.block_bytes);
      }
      SPIKECONV_UNROLL_ALL
      for (int t = 0; t < kSteps; ++t) {
        rows[t] = opaque(rows[t]);
        const __m512i spikes[kPixels] = {broadcast(rows[t]), broadcast(rows[t] + second),
                                         broadcast(rows[t] + third), broadcast(rows[t] + fourth)};
        SPIKECONV_UNROLL_ALL
        for (int p = 0; p < kPixels; ++p) {
          SPIKECONV_UNROLL_ALL
          for (int n = 0; n < kCount; ++n) {
            add_products(sums[t][p][n], spikes[p], w[n]);
          }
        }
        rows[t] += 4;
      }
      weights += kLanes * 4;
    }
  }
}

// Three taps in a row for four neighbours, each a tap further: they read six pixels in all, and
// each broadcast serves up to three of them. A single block is bound by broadcasts otherwise.
template <int kSteps>
SPIKECONV_INLINE void add_neighbours(const IntTerm& term, int64_t first, Sums<kSteps, 1>& sums) {
  constexpr int kTaps = 3;
  const uint8_t* base = term.spikes[0] + first * term.step;
  const int64_t one = term.tap, three = 3 * term.tap, five = 5 * term.tap;
  const int64_t tap_weights = term.tap * kLanes;
  const int8_t* weights = term.weights;
  for (int64_t run = 0; run < term.n_runs; ++run) {
    const uint8_t* rows[kSteps];
    SPIKECONV_UNROLL_ALL
    for (int t = 0; t < kSteps; ++t) {
      rows[t] = base + term.runs[run] + t * term.step;
    }
    for (int64_t byte = 0; byte < term.tap; byte += 4) {
      __m512i w[kTaps];
      SPIKECONV_UNROLL_ALL
      for (int tap = 0; tap < kTaps; ++tap) {
        w[tap] = _mm512_loadu_si512(weights + tap * tap_weights);
      }
      SPIKECONV_UNROLL_ALL
      for (int t = 0; t < kSteps; ++t) {
        rows[t] = opaque(rows[t]);
        const __m512i spikes[kPixels + kTaps - 1] = {
            broadcast(rows[t]),         broadcast(rows[t] + one),     broadcast(rows[t] + 2 * one),
            broadcast(rows[t] + three), broadcast(rows[t] + 4 * one), broadcast(rows[t] + five)};
        SPIKECONV_UNROLL_ALL
        for (int tap = 0; tap < kTaps; ++tap) {
          SPIKECONV_UNROLL_ALL
          for (int p = 0; p < kPixels; ++p) {
            add_products(sums[t][p][0], spikes[p + tap], w[tap]);
          }
        }
        rows[t] += 4;
      }
      weights += kLanes * 4;
    }
    weights += (kTaps - 1) * tap_weights;
  }
}

// Whether the pixels lie one tap apart, and there are three taps to a run.
SPIKECONV_INLINE bool are_neighbours(const IntTerm& term) {
  return term.tap > 0 && term.quads * 4 == 3 * term.tap &&
         term.spikes[1] - term.spikes[0] == term.tap &&
         term.spikes[2] - term.spikes[1] == term.tap && term.spikes[3] - term.spikes[2] == term.tap;
}

// What is added up, for kSteps steps from `first` on: one term whose pixels are neighbours, one
// term, or several. With one, everything about it stays in registers.

struct SingleOfNeighbours {
  IntTerm term;

  template <int kSteps>
  SPIKECONV_MEMBER void add(int64_t first, Sums<kSteps, 1>& sums) const {
    add_neighbours<kSteps>(term, first, sums);
  }
};

template <int kCount>
struct Single {
  IntTerm term;

  template <int kSteps>
  SPIKECONV_MEMBER void add(int64_t first, Sums<kSteps, kCount>& sums) const {
    add_term<kSteps, kCount>(term, first, sums);
  }
};

template <int kCount>
struct Several {
  const IntDot& dot;

  template <int kSteps>
  SPIKECONV_MEMBER void add(int64_t first, Sums<kSteps, kCount>& sums) const {
    for (int i = 0; i < dot.n_terms; ++i) {
      if (dot.terms[i].up) {
        SPIKECONV_UNROLL_ALL
        for (int j = 0; j < kSteps * kPixels * kCount; ++j) {
          __m512i& sum = sums[j / kCount / kPixels][j / kCount % kPixels][j % kCount];
          sum = _mm512_maskz_slli_epi32(0xffff, sum, 8);
        }
      }
      if constexpr (kCount == 1) {
        if (are_neighbours(dot.terms[i])) {
          add_neighbours<kSteps>(dot.terms[i], first, sums);
          continue;
        }
      }
      add_term<kSteps, kCount>(dot.terms[i], first, sums);
    }
  }
};

template <int kSteps, int kCount, class Terms>
SPIKECONV_INLINE void dot_steps(const Terms& terms, int64_t first, int32_t* out) {
  constexpr int kSums = kSteps * kPixels * kCount;
  Sums<kSteps, kCount> sums;
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < kSums; ++i) {
    sums[i / kCount / kPixels][i / kCount % kPixels][i % kCount] = _mm512_setzero_si512();
  }
  terms.template add<kSteps>(first, sums);
  out += first * kPixels * kCount * kLanes;
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < kSums; ++i) {
    _mm512_storeu_si512(out + i * kLanes,
                        sums[i / kCount / kPixels][i / kCount % kPixels][i % kCount]);
  }
}

// One block: 16 rows of four pixels and four steps fill the registers.
template <class Terms>
SPIKECONV_INLINE void dot_block(const Terms& terms, int steps, int32_t* out) {
  int t = 0;
  for (; t + 4 <= steps; t += 4) {
    dot_steps<4, 1>(terms, t, out);
  }
  switch (steps - t) {
    case 3:
      return dot_steps<3, 1>(terms, t, out);
    case 2:
      return dot_steps<2, 1>(terms, t, out);
    case 1:
      return dot_steps<1, 1>(terms, t, out);
  }
}

// Two blocks share each broadcast, so that eight rows of them do.
template <class Terms>
SPIKECONV_INLINE void dot_blocks(const Terms& terms, int steps, int32_t* out) {
  int t = 0;
  for (; t + 2 <= steps && steps - t != 3; t += 2) {
    dot_steps<2, 2>(terms, t, out);
  }
  switch (steps - t) {
    case 3:
      return dot_steps<3, 2>(terms, t, out);
    case 1:
      return dot_steps<1, 2>(terms, t, out);
  }
}

static void dot(const IntDot& d) {
  if (d.blocks == 2) {
    if (d.n_terms == 1) {
      dot_blocks(Single<2>{d.terms[0]}, d.steps, d.out);
    } else {
      dot_blocks(Several<2>{d}, d.steps, d.out);
    }
  } else if (d.n_terms == 1 && are_neighbours(d.terms[0])) {
    dot_block(SingleOfNeighbours{d.terms[0]}, d.steps, d.out);
  } else {
    dot_block(Several<1>{d}, d.steps, d.out);
  }
}

static int64_t bare(int64_t rounds) {
  constexpr int kSums = 16;
  __m512i sums[kSums];
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < kSums; ++i) {
    sums[i] = _mm512_setzero_si512();
  }
  const __m512i spikes = _mm512_set1_epi32(0x01000100), weights = _mm512_set1_epi32(0x02ff0301);
  for (int64_t round = 0; round < rounds; ++round) {
    SPIKECONV_UNROLL_ALL
    for (int i = 0; i < kSums; ++i) {
      add_products(sums[i], spikes, weights);
    }
  }
  SPIKECONV_UNROLL_ALL
  for (int i = 0; i < kSums; ++i) {
    asm volatile("" : : "v"(sums[i]));
  }
  return rounds * kSums * kLanes * 4;
}

}  // namespace spikeconv::cpu::avx512_vnni

#include "cpu/int_kernels.h"
#include "cpu/int_lookups_avx512.h"

namespace spikeconv::cpu::avx512_vnni {

IntKernels int_kernels() { return vector_kernels(0.55f, 45, 230, 4.6f, lookup_kernels(24, 2)); }

}  // namespace spikeconv::cpu::avx512_vnni

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
