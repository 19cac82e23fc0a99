// The kernels of an instruction set that multiplies in vectors, not in tiles, as one table.
// Included inside the integer kernels' .cpp files only, once `dot` and `bare` are defined.
#pragma once

#include "cpu/int_channelwise.h"
#include "cpu/int_encode.h"
#include "cpu/int_events.h"
#include "cpu/int_scan.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

static void nothing() {}

// With what events cost, IntEventKernels' costs in their order.
static IntKernels vector_kernels(float byte, float run, float window, float event,
                                 IntLookupKernels lookups = {}) {
  return {dot,     dot_channelwise,
          scan,    nullptr,
          encode,  nothing,
          nothing, bare,
          4,       {list_events, count_events, dot_events, byte, run, window, event},
          lookups};
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
