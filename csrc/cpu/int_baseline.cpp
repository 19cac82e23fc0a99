// Integer layers with what every processor of the architecture has: SSE2 on x86-64, and else plain
// C++ for the compiler to vectorise.
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <stdint.h>

#define SPIKECONV_ISA baseline
#define SPIKECONV_LANES 4
#include "cpu/int_lanes.h"
#if defined(SPIKECONV_X86)
#include "cpu/int_dot_madd.h"
#endif

namespace spikeconv::cpu::baseline {

#if !defined(SPIKECONV_X86)

// acc[channel] += the run's bytes times the channel's weights.
SPIKECONV_INLINE void add_run(const uint8_t* spikes, const int8_t* weights, int64_t quads,
                              int32_t (&acc)[kLanes]) {
  for (int64_t quad = 0; quad < quads; ++quad) {
    for (int lane = 0; lane < kLanes; ++lane) {
      int32_t sum = 0;
      for (int byte = 0; byte < 4; ++byte) {
        sum += spikes[byte] * weights[lane * 4 + byte];
      }
      acc[lane] =
          static_cast<int32_t>(static_cast<uint32_t>(acc[lane]) + static_cast<uint32_t>(sum));
    }
    spikes += 4;
    weights += kLanes * 4;
  }
}

static void dot(const IntDot& d) {
  int32_t* out = d.out;
  for (int t = 0; t < d.steps; ++t) {
    for (int p = 0; p < kPixels; ++p) {
      for (int block = 0; block < d.blocks; ++block) {
        int32_t acc[kLanes] = {};
        for (int i = 0; i < d.n_terms; ++i) {
          const IntTerm& term = d.terms[i];
          if (term.up) {
            for (int lane = 0; lane < kLanes; ++lane) {
              acc[lane] = static_cast<int32_t>(static_cast<uint32_t>(acc[lane]) << 8);
            }
          }
          const int8_t* weights = term.weights + block * term.block_bytes;
          for (int64_t run = 0; run < term.n_runs; ++run) {
            add_run(term.spikes[p] + t * term.step + term.runs[run], weights, term.quads, acc);
            weights += term.quads * kLanes * 4;
          }
        }
        __builtin_memcpy(out, acc, sizeof acc);
        out += kLanes;
      }
    }
  }
}

// The loop itself, on values that stay in the first cache.
static int64_t bare(int64_t rounds) {
  const uint8_t spikes[4] = {0, 1, 0, 1};
  const int8_t weights[kLanes * 4] = {1, 3, -1, 2};
  int32_t acc[kLanes] = {};
  for (int64_t round = 0; round < rounds; ++round) {
    add_run(spikes, weights, 1, acc);
    asm volatile("" : : "r"(acc) : "memory");
  }
  return rounds * kLanes * 4;
}

#endif

}  // namespace spikeconv::cpu::baseline

#include "cpu/int_kernels.h"

namespace spikeconv::cpu::baseline {

IntKernels int_kernels() { return vector_kernels(0.2f, 6, 20, 2); }

}  // namespace spikeconv::cpu::baseline
