// Which instruction set the CPU kernels run with: the best that this processor has, or a lower one
// that the environment variable SPIKECONV_ISA asks for ("default", "avx2" or "avx512").
#pragma once

#include "cpu/if_multistep.h"

namespace spikeconv::cpu {

// The kernel for that instruction set. Throws where SPIKECONV_ISA asks for what the processor
// lacks.
IfAdvance if_advance(const IfVariant& variant);

}  // namespace spikeconv::cpu
