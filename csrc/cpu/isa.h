// Which instruction set the CPU kernels run with: the best that this processor has, or a lower one
// that the environment variable SPIKECONV_ISA asks for ("default", "avx2" or "avx512").
#pragma once

#include "cpu/if_backward.h"
#include "cpu/if_multistep.h"

namespace spikeconv::cpu {

// The kernels for that instruction set. Throw where SPIKECONV_ISA asks for what the processor
// lacks.
IfAdvance if_advance(const IfVariant& variant);
GoBack go_back(const BackwardVariant& variant);

}  // namespace spikeconv::cpu
