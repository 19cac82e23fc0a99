// Which instruction set the CPU kernels run with: the best that this processor has, or a lower one
// that the environment variable SPIKECONV_ISA asks for ("default", "avx2", "avx512",
// "avx512_vnni" or "amx"). The neuron in floating point has no kernel of its own for the last two.
#pragma once

#include <string>

#include "cpu/if_backward.h"
#include "cpu/if_multistep.h"
#include "cpu/int_tile.h"

namespace spikeconv::cpu {

// The name of that instruction set. Throws where SPIKECONV_ISA asks for what the processor lacks.
std::string isa_name();

// The neuron's kernels for that instruction set, forward and back; they throw likewise.
IfAdvance if_advance(const IfVariant& variant);
GoBack go_back(const BackwardVariant& variant);

// The integer program's kernels for an instruction set by name, which make sums from events where
// it pays ("auto"), always or never; throws where the processor lacks it.
IntKernels int_kernels(const std::string& name, const std::string& events);

}  // namespace spikeconv::cpu
