// Four neurons at a time, with what every processor of the architecture has (x86-64: SSE2).
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define SPIKECONV_ISA baseline
#define SPIKECONV_LANES 4
#include "cpu/if_backward_kernel.h"
