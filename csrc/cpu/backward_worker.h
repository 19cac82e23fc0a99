// One thread's share of the neurons on the way back: lays a block's operands side by side and runs
// it through time and back.
#pragma once

#include <algorithm>
#include <optional>
#include <type_traits>

#include "cpu/currents.h"
#include "cpu/if_backward.h"
#include "cpu/operand.h"
#include "cpu/timed_bias.h"
#include "if_backward_call.h"

namespace spikeconv::cpu {

// What all threads share.
struct BackwardRun {
  IfBackwardPlan plan;
  int64_t block;  // neurons in a block, the last one may have fewer
  GoBack go_back;
};

template <Dtype kDtype>
class BackwardWorker {
 public:
  BackwardWorker(const IfBackwardArguments& a, const BackwardRun& run)
      : a_(a),
        run_(run),
        x_(a.x, a.x_stride_t, a.sizes, a.x_strides, run.block, a.T),
        theta_(a.v_threshold, a.sizes, a.threshold_strides, 0.0f, run.block),
        v_init_(a.v_init, a.sizes, a.v_init_strides, 0.0f, run.block),
        bias_(a.bias_stride_t == 0 ? a.bias : std::optional<at::Tensor>(), a.sizes, a.bias_strides,
              kNoBias, run.block),
        potentials_(a.T * std::min<int64_t>(kMaxTile, run.plan.neurons)) {
    if (a.bias_stride_t != 0) {
      timed_bias_.emplace(*a.bias, a.bias_stride_t, a.sizes, a.bias_strides, run.block, a.T);
    }
  }

  // Runs neurons first, ..., first + count - 1.
  void run(int64_t first, int64_t count) {
    BackwardBlock block{};
    block.neurons = count;
    block.steps = a_.T;
    x_.set(block, first, 0);
    block.theta = theta_.block(first, count);
    block.v_init = v_init_.block(first, count);
    block.bias = bias_.block(first, count);
    if (timed_bias_) {
      timed_bias_->set(block, first, 0);
    }
    block.stride = run_.plan.neurons;
    block.grad_emitted = at<const Stored>(a_.grad_emitted, first);
    block.grad_v = at<const float>(a_.grad_v, first);
    block.slope = at<const float>(a_.slope, first);
    block.grad_x = at<Stored>(a_.grad_x, first);
    block.grad_m = at<float>(a_.grad_m, first);
    block.grad_sum = at<float>(a_.grad_sum, first);
    block.grad_theta = at<float>(a_.grad_threshold, first);
    block.grad_v_init = at<float>(a_.grad_v_init, first);
    block.potentials = potentials_.data();
    block.numbers = run_.plan.numbers;
    block.v_reset = static_cast<float>(a_.v_reset);
    block.tie_fires = a_.tie_fires;
    block.psp = a_.psp;
    block.trace = a_.trace;
    block.detach_reset = a_.detach_reset;
    run_.go_back(block);
  }

 private:
  using Stored = std::conditional_t<kDtype == Dtype::kFloat32, uint32_t, uint16_t>;

  // Where a dense tensor holds the first step of a neuron; null where the tensor is not given.
  template <class Value>
  static Value* at(const std::optional<at::Tensor>& tensor, int64_t neuron) {
    if (!tensor.has_value()) {
      return nullptr;
    }
    if constexpr (std::is_const_v<Value>) {
      return static_cast<Value*>(tensor->const_data_ptr()) + neuron;
    } else {
      return static_cast<Value*>(tensor->mutable_data_ptr()) + neuron;
    }
  }

  const IfBackwardArguments& a_;
  const BackwardRun& run_;
  Currents<Stored> x_;
  Operand<float> theta_;
  Operand<float> v_init_;
  Operand<float> bias_;
  Scratch<float> potentials_;
  std::optional<TimedBias> timed_bias_;
};

}  // namespace spikeconv::cpu
