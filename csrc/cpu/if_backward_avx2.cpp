// Eight neurons at a time, for x86-64 processors with AVX2 and F16C.
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
#include "cpu/if_backward_kernel.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
