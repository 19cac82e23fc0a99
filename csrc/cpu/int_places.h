// Where the values are that belong to an output pixel.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "cpu/int_layer.h"
#include "cpu/int_plane.h"
#include "cpu/int_tile.h"

namespace spikeconv::cpu {

// A value, or values, for each output pixel.
template <class Value>
struct Places {
  Value* origin = nullptr;
  int64_t row = 0, column = 0;

  Value* at(int64_t y, int64_t x) const { return origin + y * row + x * column; }
};

// What an output reads of a plane, or the pixel itself.
template <class Byte>
Places<Byte> places(const IntPlane<Byte>& plane, const IntSource& source, int64_t image,
                    int64_t stride_y, int64_t stride_x, int64_t above, int64_t left) {
  return {plane.at(source, image, -above, -left), stride_y * plane.row, stride_x * plane.pixel};
}

// A table [1 or pixels][channels] of a layer, from a block on.
inline Places<const int32_t> places(const IntLayer& layer, const at::Tensor& table, int64_t block) {
  const int64_t pixel = table.size(1) == 1 ? 0 : table.size(2);
  return {table.const_data_ptr<int32_t>() + block * kLanes, pixel * layer.width, pixel};
}

}  // namespace spikeconv::cpu
