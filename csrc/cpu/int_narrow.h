// What of an integer layer fits into 16 bits, as its weights and coefficients prove.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "cpu/int_layer.h"

namespace spikeconv::cpu {

// Whether no spikes can bring a sum over the layer's weights, or a part of it, beyond 16 bits.
bool sums_are_narrow(const std::vector<IntSource>& sources, const IntLayer& layer,
                     const std::vector<at::Tensor>& weights);

// Whether its neurons can be IntScan's narrow ones.
bool can_be_narrow(const std::vector<IntSource>& sources, const IntLayer& layer,
                   const std::vector<at::Tensor>& weights);

// Coefficients as narrow neurons take them, int32.
at::Tensor split(const at::Tensor& coefficient);

}  // namespace spikeconv::cpu
