// Integer layers with AVX-512 (F, BW, DQ, VL), for processors that lack VNNI.
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
#endif

#define SPIKECONV_ISA avx512
#define SPIKECONV_LANES 16
#include "cpu/int_dot_madd.h"
#include "cpu/int_kernels.h"
#include "cpu/int_lookups_avx512.h"

namespace spikeconv::cpu::avx512 {

IntKernels int_kernels() { return vector_kernels(0.4f, 31, 170, 3.5f, lookup_kernels(24, 2)); }

}  // namespace spikeconv::cpu::avx512

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
