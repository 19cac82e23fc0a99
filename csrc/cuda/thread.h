// What one CUDA thread does: a few neighbouring neurons through all steps, membranes in registers.
//
// Knows neither torch nor CUDA. It is compiled for the host as well, where a plain loop over thread
// numbers runs it (tests/native), so that its logic is tested without a GPU.
#pragma once

#include "amplitude.h"
#include "cuda/pack.h"
#include "cuda/work.h"
#include "limit.h"
#include "types.h"

namespace spikeconv::cuda {

// Steps whose currents are loaded together, so that a thread waits for several loads at once.
constexpr int kTogether = 4;

template <Dtype kDtype, Emit kEmit>
struct Emitted {
  using Stored = typename Current<kDtype>::Stored;
};
template <Dtype kDtype>
struct Emitted<kDtype, Emit::kUint8> {
  using Stored = uint8_t;
};

// Neighbouring neurons of one thread, in registers.
template <int kCount>
struct Neurons {
  IfParameters<float, bool> parameters[kCount];
  IfState<float, int32_t> state[kCount];
  uint32_t amplitude[kCount];
  Pack<int32_t, kCount> summed;  // words or counts
};

template <Dtype kDtype, Emit kEmit, int kCount>
SPIKECONV_INLINE void load_neurons(const IfWork& work, const IfOffsets& offsets,
                                   Neurons<kCount>& neurons) {
  const int inner = work.rank - 1;
  SPIKECONV_UNROLL
  for (int k = 0; k < kCount; ++k) {
    const auto offset_of = [&](const IfOperand& operand, int64_t offset) {
      return offset + k * operand.strides[inner];
    };
    const int64_t at_theta = offset_of(work.theta, offsets.theta);
    const int64_t at_bias = offset_of(work.bias, offsets.bias);
    const int64_t at_v_init = offset_of(work.v_init, offsets.v_init);
    const int64_t at_count = offset_of(work.count_init, offsets.count_init);
    const float theta = value_of(work.theta, at_theta, 0.0f);
    neurons.parameters[k] = {theta, limit_of<uint32_t>(theta, work.tie_fires),
                             value_of(work.bias, at_bias, kNoBias), work.v_reset, work.hard};
    neurons.state[k] = {value_of(work.v_init, at_v_init, 0.0f),
                        value_of(work.count_init, at_count, int32_t{0})};
    neurons.amplitude[k] = amplitude_of<kDtype, kEmit>(theta);
    neurons.summed.at[k] = 0;
  }
}

template <int kCount>
SPIKECONV_INLINE void store_v(const IfWork& work, int64_t offset, const Neurons<kCount>& neurons) {
  Pack<float, kCount> v;
  SPIKECONV_UNROLL
  for (int k = 0; k < kCount; ++k) {
    v.at[k] = neurons.state[k].v;
  }
  store_pack(work.v, offset, v);
}

// Runs kSteps steps from t on. All they read is requested before the first of it is needed.
template <class Variant, int kSteps, int kCount>
SPIKECONV_INLINE void run_steps(const IfWork& work, int64_t first, const IfOffsets& offsets,
                                int64_t t, Neurons<kCount>& neurons) {
  constexpr Dtype kDtype = Variant::dtype;
  constexpr Emit kEmit = Variant::emit;
  using Stored = typename Current<kDtype>::Stored;
  using Spike = typename Emitted<kDtype, kEmit>::Stored;
  Pack<Stored, kCount> x[kSteps];
  float bias[kSteps][kCount];
  SPIKECONV_UNROLL
  for (int u = 0; u < kSteps; ++u) {
    x[u] = load_pack<Stored, kCount>(work.x.data, offsets.x + (t + u) * work.x_stride_t);
    if constexpr (Variant::timed_bias) {
      const int64_t at_bias = offsets.bias + (t + u) * work.bias_stride_t;
      SPIKECONV_UNROLL
      for (int k = 0; k < kCount; ++k) {
        const int64_t at = at_bias + k * work.bias.strides[work.rank - 1];
        bias[u][k] = static_cast<const float*>(work.bias.data)[at];
      }
    }
  }
  SPIKECONV_UNROLL
  for (int u = 0; u < kSteps; ++u) {
    const int64_t row = (t + u) * work.neurons + first;
    Pack<Spike, kCount> spikes;
    SPIKECONV_UNROLL
    for (int k = 0; k < kCount; ++k) {
      if constexpr (Variant::timed_bias) {
        neurons.parameters[k].bias = bias[u][k];
      }
      const IfSpike<bool> s = if_step<Variant::is_signed>(
          neurons.parameters[k], real_of<kDtype>(x[u].at[k]), neurons.state[k]);
      if constexpr (kEmit == Emit::kWords) {
        neurons.summed.at[k] |= static_cast<int32_t>(uint32_t{s.plus} << (t + u));
      } else if constexpr (kEmit == Emit::kCount) {
        neurons.summed.at[k] += s.plus ? 1 : (s.minus ? -1 : 0);
      } else {
        const uint32_t plus = neurons.amplitude[k];
        const uint32_t minus = negative_of<kDtype, kEmit>(plus);
        spikes.at[k] = static_cast<Spike>(s.plus ? plus : (s.minus ? minus : 0u));
      }
    }
    if constexpr (kEmit != Emit::kWords && kEmit != Emit::kCount) {
      store_pack(work.emitted, row, spikes);
    }
    if (work.trace) {
      store_v(work, row, neurons);
    }
  }
}

// Runs neurons first, ..., first + count - 1 through all steps. Where count > 1 they differ in the
// innermost index only, x has stride 1 there, and all rows are aligned: dispatch.h sees to it.
template <class Variant>
SPIKECONV_INLINE void run_neurons(const IfWork& work, int64_t first) {
  constexpr Dtype kDtype = Variant::dtype;
  constexpr Emit kEmit = Variant::emit;
  const IfOffsets offsets = offsets_of(work, first);
  Neurons<Variant::count> neurons;
  load_neurons<kDtype, kEmit>(work, offsets, neurons);
  int64_t t = 0;
  for (; t + kTogether <= work.T; t += kTogether) {
    run_steps<Variant, kTogether>(work, first, offsets, t, neurons);
  }
  for (; t < work.T; ++t) {
    run_steps<Variant, 1>(work, first, offsets, t, neurons);
  }
  if constexpr (kEmit == Emit::kWords || kEmit == Emit::kCount) {
    store_pack(work.emitted, first, neurons.summed);
  }
  if (work.last) {
    store_v(work, first, neurons);
  }
}

// The whole of thread `thread` out of `threads`: every threads-th group of `count` neurons.
template <class Variant>
SPIKECONV_INLINE void run_thread(const IfWork& work, int64_t thread, int64_t threads) {
  constexpr int kCount = Variant::count;
  for (int64_t first = thread * kCount; first < work.neurons; first += threads * kCount) {
    run_neurons<Variant>(work, first);
  }
}

}  // namespace spikeconv::cuda
