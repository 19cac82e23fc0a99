// Checks that the native operators make before they touch memory. Every message names the operator
// and the argument, says what is wanted and what was given. Called through Python these checks
// repeat what spikeconv/ops has checked already; they are here for whoever calls the operators
// directly.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <c10/util/Exception.h>

#include <optional>

#include "types.h"

namespace spikeconv {

// The number of elements of `sizes`, which must be positive in number and not negative.
inline int64_t checked_numel(const char* op, at::IntArrayRef sizes) {
  TORCH_CHECK(!sizes.empty(), op, ": sizes must have at least one entry, got []");
  int64_t numel = 1;
  bool overflow = false;
  for (const int64_t size : sizes) {
    TORCH_CHECK(size >= 0, op, ": sizes must not be negative, got ", sizes);
    overflow |= size != 0 && __builtin_mul_overflow(numel, size, &numel);
  }
  for (const int64_t size : sizes) {
    if (size == 0) {
      return 0;
    }
  }
  TORCH_CHECK(!overflow, op, ": the product of sizes must fit in 64 bits, got ", sizes);
  return numel;
}

// A tensor with its argument's name; null where it is not given.
struct NamedTensor {
  const char* name;
  const at::Tensor* tensor;

  NamedTensor(const char* name, const at::Tensor& tensor) : name(name), tensor(&tensor) {}
  NamedTensor(const char* name, const std::optional<at::Tensor>& tensor)
      : name(name), tensor(tensor.has_value() ? &*tensor : nullptr) {}
};

inline void check_tensor(const char* op, const char* name, const at::Tensor& tensor,
                         at::ScalarType dtype, at::Device device) {
  TORCH_CHECK(tensor.defined(), op, ": ", name, " must be a tensor, got None");
  TORCH_CHECK(tensor.layout() == at::kStrided, op, ": ", name, " must be strided, got ",
              tensor.layout());
  TORCH_CHECK(tensor.scalar_type() == dtype, op, ": ", name, " must have dtype ", dtype, ", got ",
              tensor.scalar_type());
  TORCH_CHECK(tensor.device() == device, op, ": ", name, " must be on x's device ", device,
              ", got ", tensor.device());
}

inline Dtype dtype_of(const char* op, const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return Dtype::kFloat32;
    case at::kHalf:
      return Dtype::kFloat16;
    case at::kBFloat16:
      return Dtype::kBFloat16;
    default:
      TORCH_CHECK(false, op, ": x must have dtype float32, float16 or bfloat16, got ",
                  x.scalar_type());
  }
}

// An output holds exactly `numel` elements, each in a place of its own and without holes between.
inline void check_output(const char* op, const char* name, const at::Tensor& tensor,
                         int64_t numel) {
  TORCH_CHECK(tensor.numel() == numel, op, ": ", name, " must have ", numel, " elements, got ",
              tensor.numel());
  TORCH_CHECK(tensor.is_non_overlapping_and_dense(), op, ": ", name, " must be dense, got strides ",
              tensor.strides(), " for shape ", tensor.sizes());
}

// What is written shares no memory with what is read, nor with what else is written: it would be
// overwritten, or read after it was written.
inline void check_apart(const char* op, c10::ArrayRef<NamedTensor> written,
                        c10::ArrayRef<NamedTensor> read) {
  const auto check = [op](const NamedTensor& output, const NamedTensor& other) {
    TORCH_CHECK(output.tensor == nullptr || other.tensor == nullptr ||
                    !output.tensor->is_alias_of(*other.tensor),
                op, ": ", output.name, " must not share memory with another tensor, got that of ",
                other.name);
  };
  for (const NamedTensor* output = written.begin(); output != written.end(); ++output) {
    for (const NamedTensor* other = output + 1; other != written.end(); ++other) {
      check(*output, *other);
    }
    for (const NamedTensor& input : read) {
      check(*output, input);
    }
  }
}

// Every element that the walk over `sizes` with `strides`, repeated `steps` times `stride_t` apart,
// can reach lies in the tensor's storage.
inline void check_reach(const char* op, const char* name, const char* strides_name,
                        const at::Tensor& tensor, at::IntArrayRef sizes, at::IntArrayRef strides,
                        int64_t steps = 1, int64_t stride_t = 0) {
  TORCH_CHECK(strides.size() == sizes.size(), op, ": ", strides_name, " must have ", sizes.size(),
              " entries, one per entry of sizes, got ", strides.size());
  int64_t low = tensor.storage_offset();
  int64_t high = low;
  bool overflow = false;
  const auto extend = [&](int64_t size, int64_t stride) {
    int64_t& end = stride < 0 ? low : high;
    int64_t span = 0;
    overflow |=
        __builtin_mul_overflow(size - 1, stride, &span) || __builtin_add_overflow(end, span, &end);
  };
  for (size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == 0) {
      return;
    }
    extend(sizes[d], strides[d]);
  }
  extend(steps, stride_t);
  const auto held = static_cast<int64_t>(tensor.storage().nbytes() / tensor.element_size());
  TORCH_CHECK(!overflow && low >= 0 && high < held, op, ": ", strides_name, " must stay inside ",
              name, "'s storage of ", held, " elements, got ", strides, " from element ",
              tensor.storage_offset(), " on, ", steps, " times ", stride_t, " apart");
}

// What follows takes the arguments of an operator, forward or back, which have op, x, T and sizes.

template <class Arguments>
void check_operand(const Arguments& a, const char* name, const char* strides_name,
                   const at::Tensor& tensor, at::IntArrayRef strides, at::ScalarType dtype,
                   int64_t stride_t = 0) {
  check_tensor(a.op, name, tensor, dtype, a.x.device());
  check_reach(a.op, name, strides_name, tensor, a.sizes, strides, a.T, stride_t);
}

// An optional operand is checked where it is given; where it is not it has no strides.
template <class Arguments>
void check_optional(const Arguments& a, const char* name, const char* strides_name,
                    const std::optional<at::Tensor>& tensor, at::IntArrayRef strides,
                    at::ScalarType dtype, int64_t stride_t = 0) {
  if (tensor.has_value()) {
    check_operand(a, name, strides_name, *tensor, strides, dtype, stride_t);
  } else {
    TORCH_CHECK(strides.empty(), a.op, ": ", strides_name, " must be [] without ", name, ", got ",
                strides);
    TORCH_CHECK(stride_t == 0, a.op, ": ", name, "_stride_t must be 0 without ", name, ", got ",
                stride_t);
  }
}

// All there is to do for tensors without data, whose sizes may be symbols: none of them has data.
template <class Arguments>
void check_devices(const Arguments& a) {
  const auto check = [&a](const auto& tensors) {
    for (const NamedTensor& each : tensors) {
      if (each.tensor != nullptr) {
        check_tensor(a.op, each.name, *each.tensor, each.tensor->scalar_type(), a.x.device());
      }
    }
  };
  check(read_by(a));
  check(written_by(a));
}

}  // namespace spikeconv
