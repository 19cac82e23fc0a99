// Operands of a call as the threads of a kernel see them: the torch side.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <optional>

#include "cuda/work.h"

namespace spikeconv::cuda {

inline void check_rank(const char* op, at::IntArrayRef sizes) {
  TORCH_CHECK(sizes.size() <= kMaxRank, op, ": sizes must have at most ", kMaxRank,
              " entries after neighbouring dimensions are merged, got ", sizes);
}

inline IfOperand operand_of(const std::optional<at::Tensor>& tensor, at::IntArrayRef strides) {
  IfOperand operand{};
  if (tensor.has_value()) {
    operand.data = tensor->const_data_ptr();
    std::copy(strides.begin(), strides.end(), operand.strides);
  }
  return operand;
}

}  // namespace spikeconv::cuda
