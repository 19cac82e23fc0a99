// Sums of spikes over windows: average pooling before its division.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "cpu/int_plane.h"

namespace spikeconv::cpu {

struct IntPool {
  int64_t source, out;
  int64_t kernel_y, kernel_x;
  int64_t stride_y, stride_x;
  int64_t above, left;  // padding

  // What turns a sum of bytes, with their zero points, into the sum of spikes plus its own.
  uint8_t correction(const std::vector<IntSource>& sources) const {
    return static_cast<uint8_t>(sources[out].zero() - kernel_y * kernel_x * sources[source].zero());
  }
};

// Checks that windows lie within the source and its borders; numbers are kernel, stride, padding.
IntPool make_int_pool(const std::vector<IntSource>& sources, int64_t source, int64_t out,
                      at::IntArrayRef numbers);

// One row of output pixels of one image, all steps.
void run_pool_row(const IntPool& pool, const std::vector<IntSource>& sources,
                  const IntPlane<const uint8_t>& from, const IntPlane<uint8_t>& to, int64_t steps,
                  int64_t image, int64_t y);

}  // namespace spikeconv::cpu
