// One thread's share of the neurons: lays a block's operands side by side and runs it over time.
#pragma once

#include <algorithm>
#include <optional>
#include <type_traits>

#include "amplitude.h"
#include "cpu/currents.h"
#include "cpu/if_multistep.h"
#include "cpu/operand.h"
#include "cpu/timed_bias.h"
#include "if_multistep_call.h"

namespace spikeconv::cpu {

// Steps that a block runs in one call of the kernel. Each step is a stream of memory of its own:
// few of them leave bandwidth unused, and many a power of two apart get in each other's way in the
// caches.
constexpr int64_t kSteps = 8;

// What all threads share.
struct Run {
  IfMultistepPlan plan;
  int64_t block;  // neurons in a block, the last one may have fewer
  IfAdvance advance;
  char* emitted;
  int64_t emitted_bytes;  // of one element
  float* v;
  bool stream_emitted;  // write around the caches
  bool stream_trace;
};

template <Dtype kDtype>
class Worker {
 public:
  Worker(const IfMultistepArguments& a, const Run& run)
      : a_(a),
        run_(run),
        x_(a.x, a.x_stride_t, a.sizes, a.x_strides, run.block, kSteps),
        theta_(a.v_threshold, a.sizes, a.threshold_strides, 0.0f, run.block),
        v_init_(a.v_init, a.sizes, a.v_init_strides, 0.0f, run.block),
        bias_(a.bias_stride_t == 0 ? a.bias : std::optional<at::Tensor>(), a.sizes, a.bias_strides,
              kNoBias, run.block),
        net_init_(a.count_init, a.sizes, a.count_strides, 0, run.block),
        v_(run.plan.last ? 0 : run.block),
        net_(a.is_signed ? run.block : 0),
        amplitude_(run.plan.emit == Emit::kPsp ? run.block : kMaxLanes) {
    if (a.bias_stride_t != 0) {
      timed_bias_.emplace(*a.bias, a.bias_stride_t, a.sizes, a.bias_strides, run.block, kSteps);
    }
  }

  // Runs neurons first, ..., first + count - 1 through all steps.
  void run(int64_t first, int64_t count) {
    const IfMultistepPlan& plan = run_.plan;
    IfBlock block{};
    block.neurons = count;
    block.theta = theta_.block(first, count);
    block.bias = bias_.block(first, count);
    block.v_before = v_init_.block(first, count);
    block.net_before = net_init_.block(first, count);
    block.amplitude = amplitude(block.theta, count);
    block.v = plan.last ? run_.v + first : v_.data();
    block.net = net_.data();
    block.emitted_stride = plan.neurons;
    block.trace_stride = plan.neurons;
    block.v_reset = static_cast<float>(a_.v_reset);
    block.hard = a_.hard;
    block.tie_fires = a_.tie_fires;
    block.first = true;
    block.stream_emitted = run_.stream_emitted;
    block.stream_trace = run_.stream_trace;
    for (int64_t t = 0; t < a_.T; t += kSteps) {
      block.steps = std::min(kSteps, a_.T - t);
      block.first_bit = 1u << (t % 32);
      x_.set(block, first, t);
      if (timed_bias_) {
        timed_bias_->set(block, first, t);
      }
      const int64_t row = plan.summed ? 0 : t * plan.neurons;
      block.emitted = run_.emitted + (row + first) * run_.emitted_bytes;
      block.trace = plan.trace ? run_.v + t * plan.neurons + first : nullptr;
      run_.advance(block);
      block.v_before = {block.v, 1};
      block.net_before = {block.net, 1};
      block.first = false;
    }
  }

 private:
  using Stored = std::conditional_t<kDtype == Dtype::kFloat32, uint32_t, uint16_t>;

  // The stored pattern of each neuron's spikes.
  IfInput<uint32_t> amplitude(IfInput<float> theta, int64_t count) {
    uint32_t* patterns = amplitude_.data();
    switch (run_.plan.emit) {
      case Emit::kPsp:
        count = theta.step == 0 ? kMaxLanes : count;
        for (int64_t i = 0; i < count; ++i) {
          patterns[i] = amplitude_of<kDtype, Emit::kPsp>(theta.data[i]);
        }
        return {patterns, theta.step};
      case Emit::kUint8:
        std::fill_n(patterns, kMaxLanes, amplitude_of<kDtype, Emit::kUint8>(1.0f));
        return {patterns, 0};
      default:
        std::fill_n(patterns, kMaxLanes, amplitude_of<kDtype, Emit::kSpikes>(1.0f));
        return {patterns, 0};
    }
  }

  const IfMultistepArguments& a_;
  const Run& run_;
  Currents<Stored> x_;
  Operand<float> theta_;
  Operand<float> v_init_;
  Operand<float> bias_;
  Operand<int32_t> net_init_;
  Scratch<float> v_;
  Scratch<int32_t> net_;
  Scratch<uint32_t> amplitude_;
  std::optional<TimedBias> timed_bias_;
};

}  // namespace spikeconv::cpu
