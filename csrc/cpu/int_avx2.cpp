// Integer layers with AVX2.
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,f16c")
#endif

#define SPIKECONV_ISA avx2
#define SPIKECONV_LANES 8
#include "cpu/int_dot_madd.h"
#include "cpu/int_kernels.h"
#include "cpu/int_lookups_avx2.h"

namespace spikeconv::cpu::avx2 {

IntKernels int_kernels() { return vector_kernels(0.4f, 18, 110, 3.3f, lookup_kernels(24, 2)); }

}  // namespace spikeconv::cpu::avx2

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
