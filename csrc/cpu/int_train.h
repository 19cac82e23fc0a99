// Between trains of spikes, [T, B, C, H, W] as the float path has them, and planes.
#pragma once

#include <ATen/core/Tensor.h>

#include "cpu/int_plane.h"

namespace spikeconv::cpu {

// Writes a train of float32 (of a population: its sign), uint8 or int8, of any strides.
void pack_train(const IntSource& source, const at::Tensor& train, const IntPlane<uint8_t>& plane);

// Reads a plane into a dense int8 train.
void unpack_train(const IntSource& source, const IntPlane<const uint8_t>& plane,
                  const at::Tensor& train);

}  // namespace spikeconv::cpu
