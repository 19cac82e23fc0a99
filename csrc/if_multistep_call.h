// The torch side that the CPU and the CUDA operator share: one signature, one set of checks.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "check.h"
#include "types.h"

namespace spikeconv {

// The operators' arguments as they come from Python; schema.cpp has their declaration.
struct IfMultistepArguments {
  const char* op;
  const at::Tensor& x;
  const at::Tensor& v_threshold;
  const at::Tensor& v_init;
  const std::optional<at::Tensor>& bias;
  const std::optional<at::Tensor>& count_init;
  const at::Tensor& emitted;
  const std::optional<at::Tensor>& v;
  int64_t T;
  at::IntArrayRef sizes;
  int64_t x_stride_t;
  at::IntArrayRef x_strides;
  at::IntArrayRef threshold_strides;
  at::IntArrayRef v_init_strides;
  int64_t bias_stride_t;
  at::IntArrayRef bias_strides;
  at::IntArrayRef count_strides;
  bool hard;
  double v_reset;
  bool is_signed;
  bool tie_fires;
  const std::string& emit;
  const std::string& return_v;
};

inline std::array<NamedTensor, 5> read_by(const IfMultistepArguments& a) {
  return {{{"x", a.x},
           {"v_threshold", a.v_threshold},
           {"v_init", a.v_init},
           {"bias", a.bias},
           {"count_init", a.count_init}}};
}

inline std::array<NamedTensor, 2> written_by(const IfMultistepArguments& a) {
  return {{{"emitted", a.emitted}, {"v", a.v}}};
}

// What the strings and the tensors' types stand for.
struct IfMultistepPlan {
  int64_t neurons;
  Dtype dtype;
  Emit emit;
  bool summed;  // emitted has one element a neuron, not one a step
  bool last;    // v after the last step is wanted
  bool trace;   // v after every step is wanted
};

inline Emit emit_of(const IfMultistepArguments& a) {
  if (a.emit == "spikes") return Emit::kSpikes;
  if (a.emit == "psp") return Emit::kPsp;
  if (a.emit == "uint8") return Emit::kUint8;
  if (a.emit == "words") return Emit::kWords;
  if (a.emit == "count") return Emit::kCount;
  TORCH_CHECK(false, a.op, ": emit must be spikes, psp, uint8, words or count, got ", a.emit);
}

inline at::ScalarType emitted_type(const IfMultistepArguments& a, Emit emit) {
  switch (emit) {
    case Emit::kUint8:
      return a.is_signed ? at::kChar : at::kByte;
    case Emit::kWords:
    case Emit::kCount:
      return at::kInt;
    default:
      return a.x.scalar_type();
  }
}

inline void check_v(const IfMultistepArguments& a, const IfMultistepPlan& plan) {
  TORCH_CHECK(a.v.has_value() == (a.return_v != "none"), a.op, ": v must be ",
              a.return_v == "none" ? "None" : "a tensor", " with return_v=", a.return_v);
  if (!a.v.has_value()) {
    return;
  }
  check_tensor(a.op, "v", *a.v, at::kFloat, a.x.device());
  check_output(a.op, "v", *a.v, plan.trace ? a.T * plan.neurons : plan.neurons);
}

// Makes sure that running the kernel reads and writes only memory of the tensors given.
inline IfMultistepPlan check_if_multistep(const IfMultistepArguments& a) {
  IfMultistepPlan plan{};
  plan.neurons = checked_numel(a.op, a.sizes);
  plan.dtype = dtype_of(a.op, a.x);
  plan.emit = emit_of(a);
  plan.summed = plan.emit == Emit::kWords || plan.emit == Emit::kCount;
  plan.last = a.return_v == "last";
  plan.trace = a.return_v == "all";
  TORCH_CHECK(plan.last || plan.trace || a.return_v == "none", a.op,
              ": return_v must be none, last or all, got ", a.return_v);
  TORCH_CHECK(a.T >= 1, a.op, ": T must be at least 1, got ", a.T);
  if (plan.emit == Emit::kWords) {
    TORCH_CHECK(a.T <= 32, a.op, ": T must be at most 32 with emit=words, got ", a.T);
    TORCH_CHECK(!a.is_signed, a.op, ": emit=words is not for signed neurons");
  }
  int64_t elements = 0;
  TORCH_CHECK(!__builtin_mul_overflow(a.T, plan.neurons, &elements), a.op,
              ": T times the neurons must fit in 64 bits, got ", a.T, " times ", plan.neurons);

  check_operand(a, "x", "x_strides", a.x, a.x_strides, a.x.scalar_type(), a.x_stride_t);
  check_operand(a, "v_threshold", "threshold_strides", a.v_threshold, a.threshold_strides,
                at::kFloat);
  check_operand(a, "v_init", "v_init_strides", a.v_init, a.v_init_strides, at::kFloat);
  check_optional(a, "bias", "bias_strides", a.bias, a.bias_strides, at::kFloat, a.bias_stride_t);
  check_optional(a, "count_init", "count_strides", a.count_init, a.count_strides, at::kInt);

  check_tensor(a.op, "emitted", a.emitted, emitted_type(a, plan.emit), a.x.device());
  check_output(a.op, "emitted", a.emitted, plan.summed ? plan.neurons : elements);
  check_v(a, plan);
  check_apart(a.op, written_by(a), read_by(a));
  return plan;
}

// The function that torch calls for operator kOp: hands its arguments on in one piece.
template <const char* kOp, void (*kRun)(const IfMultistepArguments&)>
void from_torch(const at::Tensor& x, const at::Tensor& v_threshold, const at::Tensor& v_init,
                const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& count_init,
                const at::Tensor& emitted, const std::optional<at::Tensor>& v, int64_t T,
                at::IntArrayRef sizes, int64_t x_stride_t, at::IntArrayRef x_strides,
                at::IntArrayRef threshold_strides, at::IntArrayRef v_init_strides,
                int64_t bias_stride_t, at::IntArrayRef bias_strides, at::IntArrayRef count_strides,
                bool hard, double v_reset, bool is_signed, bool tie_fires, std::string emit,
                std::string return_v) {
  kRun({kOp,
        x,
        v_threshold,
        v_init,
        bias,
        count_init,
        emitted,
        v,
        T,
        sizes,
        x_stride_t,
        x_strides,
        threshold_strides,
        v_init_strides,
        bias_stride_t,
        bias_strides,
        count_strides,
        hard,
        v_reset,
        is_signed,
        tie_fires,
        emit,
        return_v});
}

}  // namespace spikeconv
