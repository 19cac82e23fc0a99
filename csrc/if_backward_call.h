// The torch side that the backward operators of CPU and CUDA share: one signature, one set of
// checks.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "check.h"
#include "surrogate.h"
#include "types.h"

namespace spikeconv {

// The operators' arguments as they come from Python; schema.cpp has their declaration.
struct IfBackwardArguments {
  const char* op;
  const at::Tensor& x;
  const at::Tensor& v_threshold;
  const at::Tensor& v_init;
  const std::optional<at::Tensor>& bias;
  const std::optional<at::Tensor>& grad_emitted;
  const std::optional<at::Tensor>& grad_v;
  const std::optional<at::Tensor>& slope;
  const std::optional<at::Tensor>& grad_x;
  const std::optional<at::Tensor>& grad_m;
  const std::optional<at::Tensor>& grad_sum;
  const std::optional<at::Tensor>& grad_threshold;
  const std::optional<at::Tensor>& grad_v_init;
  int64_t T;
  at::IntArrayRef sizes;
  int64_t x_stride_t;
  at::IntArrayRef x_strides;
  at::IntArrayRef threshold_strides;
  at::IntArrayRef v_init_strides;
  int64_t bias_stride_t;
  at::IntArrayRef bias_strides;
  bool hard;
  double v_reset;
  bool tie_fires;
  bool psp;
  bool trace;
  bool detach_reset;
  const std::string& surrogate;
  double a;
  double b;
};

inline std::array<NamedTensor, 7> read_by(const IfBackwardArguments& a) {
  return {{{"x", a.x},
           {"v_threshold", a.v_threshold},
           {"v_init", a.v_init},
           {"bias", a.bias},
           {"grad_emitted", a.grad_emitted},
           {"grad_v", a.grad_v},
           {"slope", a.slope}}};
}

inline std::array<NamedTensor, 5> written_by(const IfBackwardArguments& a) {
  return {{{"grad_x", a.grad_x},
           {"grad_m", a.grad_m},
           {"grad_sum", a.grad_sum},
           {"grad_threshold", a.grad_threshold},
           {"grad_v_init", a.grad_v_init}}};
}

// What the strings and the tensors' types stand for.
struct IfBackwardPlan {
  int64_t neurons;
  Dtype dtype;
  Surrogate surrogate;
  SurrogateNumbers numbers;
};

inline Surrogate surrogate_of(const IfBackwardArguments& a) {
  if (a.surrogate == "sigmoid") return Surrogate::kSigmoid;
  if (a.surrogate == "atan") return Surrogate::kATan;
  if (a.surrogate == "piecewise_linear") return Surrogate::kPiecewiseLinear;
  if (a.surrogate == "given") return Surrogate::kGiven;
  TORCH_CHECK(false, a.op, ": surrogate must be sigmoid, atan, piecewise_linear or given, got ",
              a.surrogate);
}

// Makes sure that running the kernel reads and writes only memory of the tensors given.
inline IfBackwardPlan check_if_backward(const IfBackwardArguments& a) {
  IfBackwardPlan plan{};
  plan.neurons = checked_numel(a.op, a.sizes);
  plan.dtype = dtype_of(a.op, a.x);
  plan.surrogate = surrogate_of(a);
  plan.numbers = {static_cast<float>(a.a), static_cast<float>(a.b)};
  // Room is made for every step, and its size in bytes must be a number too.
  TORCH_CHECK(a.T >= 1 && a.T < int64_t{1} << 48, a.op, ": T must be from 1 to 2^48 - 1, got ",
              a.T);
  int64_t elements = 0;
  TORCH_CHECK(!__builtin_mul_overflow(a.T, plan.neurons, &elements), a.op,
              ": T times the neurons must fit in 64 bits, got ", a.T, " times ", plan.neurons);

  check_operand(a, "x", "x_strides", a.x, a.x_strides, a.x.scalar_type(), a.x_stride_t);
  check_operand(a, "v_threshold", "threshold_strides", a.v_threshold, a.threshold_strides,
                at::kFloat);
  check_operand(a, "v_init", "v_init_strides", a.v_init, a.v_init_strides, at::kFloat);
  check_optional(a, "bias", "bias_strides", a.bias, a.bias_strides, at::kFloat, a.bias_stride_t);
  TORCH_CHECK(
      (plan.surrogate == Surrogate::kGiven) == a.slope.has_value(), a.op,
      ": slope must be a tensor with surrogate=given, else None, got surrogate=", a.surrogate);

  const auto dense = [&](const char* name, const std::optional<at::Tensor>& tensor, int64_t numel,
                         at::ScalarType dtype) {
    if (tensor.has_value()) {
      check_tensor(a.op, name, *tensor, dtype, a.x.device());
      check_output(a.op, name, *tensor, numel);
    }
  };
  dense("grad_emitted", a.grad_emitted, elements, a.x.scalar_type());
  dense("grad_v", a.grad_v, a.trace ? elements : plan.neurons, at::kFloat);
  dense("slope", a.slope, elements, at::kFloat);
  dense("grad_x", a.grad_x, elements, a.x.scalar_type());
  dense("grad_m", a.grad_m, elements, at::kFloat);
  dense("grad_sum", a.grad_sum, plan.neurons, at::kFloat);
  dense("grad_threshold", a.grad_threshold, plan.neurons, at::kFloat);
  dense("grad_v_init", a.grad_v_init, plan.neurons, at::kFloat);
  check_apart(a.op, written_by(a), read_by(a));
  return plan;
}

// The function that torch calls for operator kOp: hands its arguments on in one piece.
template <const char* kOp, void (*kRun)(const IfBackwardArguments&)>
void backward_from_torch(
    const at::Tensor& x, const at::Tensor& v_threshold, const at::Tensor& v_init,
    const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& grad_emitted,
    const std::optional<at::Tensor>& grad_v, const std::optional<at::Tensor>& slope,
    const std::optional<at::Tensor>& grad_x, const std::optional<at::Tensor>& grad_m,
    const std::optional<at::Tensor>& grad_sum, const std::optional<at::Tensor>& grad_threshold,
    const std::optional<at::Tensor>& grad_v_init, int64_t T, at::IntArrayRef sizes,
    int64_t x_stride_t, at::IntArrayRef x_strides, at::IntArrayRef threshold_strides,
    at::IntArrayRef v_init_strides, int64_t bias_stride_t, at::IntArrayRef bias_strides, bool hard,
    double v_reset, bool tie_fires, bool psp, bool trace, bool detach_reset, std::string surrogate,
    double a, double b) {
  kRun({kOp,
        x,
        v_threshold,
        v_init,
        bias,
        grad_emitted,
        grad_v,
        slope,
        grad_x,
        grad_m,
        grad_sum,
        grad_threshold,
        grad_v_init,
        T,
        sizes,
        x_stride_t,
        x_strides,
        threshold_strides,
        v_init_strides,
        bias_stride_t,
        bias_strides,
        hard,
        v_reset,
        tie_fires,
        psp,
        trace,
        detach_reset,
        surrogate,
        a,
        b});
}

}  // namespace spikeconv
