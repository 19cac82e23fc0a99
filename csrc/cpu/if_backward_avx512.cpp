// Sixteen neurons at a time, for x86-64 processors with AVX-512 (F, BW, DQ, VL).
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
#include "cpu/if_backward_kernel.h"

#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
