// Sixteen int32 at a time, in as many registers as the instruction set needs. Included inside the
// integer kernels' .cpp files only, with SPIKECONV_ISA and SPIKECONV_LANES (int32 in a register)
// set; see if_multistep_kernel.h why nothing here may have external linkage.
//
// Arithmetic is modulo 2^32: true results lie in int32, and what is on the way may wrap.
#pragma once

#include "cpu/int_tile.h"
#include "if_neuron.h"

// SPIKECONV_PORTABLE: plain C++ in place of SSE2, as on other processors; tests set it.
#if defined(__x86_64__) && !defined(SPIKECONV_PORTABLE)
#define SPIKECONV_X86
#endif

// Like SPIKECONV_INLINE, for a member function.
#define SPIKECONV_MEMBER inline __attribute__((always_inline))

// Before a loop of up to 24 rounds over registers.
#if defined(__clang__)
#define SPIKECONV_UNROLL_ALL _Pragma("unroll")
#else
#define SPIKECONV_UNROLL_ALL _Pragma("GCC unroll 24")
#endif

namespace spikeconv::cpu::SPIKECONV_ISA {

// Whether add_pairs is one instruction, so that with a power of two it saves a shift.
#if defined(SPIKECONV_VNNI)
constexpr bool kScalesNarrow = true;
#else
constexpr bool kScalesNarrow = false;
#endif

// For each lane its byte, nothing, nothing, its byte, as instructions take it that move bytes.
constexpr int32_t spread_lane(int lane) { return 0x808000 + lane * 0x1000001; }
alignas(64) constexpr int32_t kSpread[kLanes] = {
    spread_lane(0),  spread_lane(1),  spread_lane(2),  spread_lane(3),
    spread_lane(4),  spread_lane(5),  spread_lane(6),  spread_lane(7),
    spread_lane(8),  spread_lane(9),  spread_lane(10), spread_lane(11),
    spread_lane(12), spread_lane(13), spread_lane(14), spread_lane(15)};

}  // namespace spikeconv::cpu::SPIKECONV_ISA

#if SPIKECONV_LANES == 16
#include "cpu/int_lanes_one.h"
#else
#include "cpu/int_lanes_parts.h"
#endif
