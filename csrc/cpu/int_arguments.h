// What the integer program's methods want of their arguments, in errors that say what was given.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "cpu/int_plane.h"
#include "cpu/int_sizes.h"

namespace spikeconv::cpu {

constexpr char kClass[] = "_IntegerProgram";

inline int64_t checked(const char* method, const char* name, int64_t value, int64_t least,
                       int64_t most) {
  TORCH_CHECK(value >= least && value <= most, kClass, ".", method, ": ", name, " must be from ",
              least, " to ", most, ", got ", value);
  return value;
}

template <class List>
const typename List::value_type& at(const char* method, const char* name, const List& list,
                                    int64_t index) {
  TORCH_CHECK(index >= 0 && index < static_cast<int64_t>(list.size()), kClass, ".", method,
              ": there is no ", name, " ", index, ", but ", list.size());
  return list[index];
}

inline void check_plane_size(const char* method, const IntSource& source, int64_t images,
                             int64_t steps) {
  checked(method, "images", images, 0, kLargestSize);
  checked(method, "steps", steps, 1, kLargestSize);
  const double bytes = static_cast<double>(images) * static_cast<double>(steps) *
                       static_cast<double>(source.rows() * source.step_bytes());
  TORCH_CHECK(bytes < 1e18, kClass, ".", method, ": a plane of ", bytes, " bytes is too large");
}

inline void check_plane(const char* method, const IntSource& source, const at::Tensor& plane,
                        int64_t images, int64_t steps) {
  TORCH_CHECK(plane.defined() && plane.device().is_cpu() && plane.scalar_type() == at::kByte &&
                  plane.is_contiguous(),
              kClass, ".", method, ": a plane must be a dense uint8 tensor on the CPU");
  check_plane_size(method, source, images, steps);
  const int64_t bytes = source.plane_bytes(images, steps);
  TORCH_CHECK(plane.numel() == bytes, kClass, ".", method, ": a plane of ", images, " images and ",
              steps, " steps must have ", bytes, " bytes, got ", plane.numel());
}

// Takes the next of a list's tensors, which must be dense and of that shape.
inline at::Tensor next_table(const char* name, std::vector<at::Tensor>& list, size_t* position,
                             at::IntArrayRef shape, at::ScalarType dtype) {
  TORCH_CHECK(*position < list.size(), kClass, ".run_chain: ", name, " must have more than ",
              list.size(), " tensors");
  at::Tensor table = list[(*position)++];
  TORCH_CHECK(table.defined() && table.device().is_cpu() && table.is_contiguous() &&
                  table.scalar_type() == dtype && table.sizes() == shape,
              kClass, ".run_chain: ", name, " must be dense ", dtype, " ", shape, " on the CPU");
  return table;
}

inline void check_all_used(const char* name, const std::vector<at::Tensor>& list, size_t used) {
  TORCH_CHECK(list.size() == used, kClass, ".run_chain: ", name, " must have ", used,
              " tensors, got ", list.size());
}

}  // namespace spikeconv::cpu
