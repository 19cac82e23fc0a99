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

// The integer program's kernels for an instruction set by name, and for a way to make sums: by what
// takes least time ("auto"), or by "products", "events" or "lookups" where a layer can. Throws
// where the processor lacks the instruction set.
IntKernels int_kernels(const std::string& name, const std::string& sums);

}  // namespace spikeconv::cpu
