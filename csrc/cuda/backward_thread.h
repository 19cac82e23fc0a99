// What one CUDA thread does on the way back: a few neighbouring neurons through all steps,
// potentials and gradients in registers. Compiled for the host as well, like thread.h.
#pragma once

#include "cuda/backward_work.h"
#include "cuda/pack.h"
#include "if_gradient.h"
#include "limit.h"
#include "stored.h"

namespace spikeconv::cuda {

// Neighbouring neurons of one thread, in registers.
template <int kCount>
struct NeuronsBack {
  IfParameters<float, bool> forward[kCount];
  IfGradientParameters<float, bool> backward[kCount];
  Pack<float, kCount> v;
  IfGradients<float> gradients[kCount];
};

template <int kCount>
SPIKECONV_INLINE float per_neuron(const BackwardWork& work, const IfOperand& operand,
                                  int64_t offset, int k, float absent) {
  return value_of(operand, offset + k * operand.strides[work.run.rank - 1], absent);
}

template <int kCount>
SPIKECONV_INLINE void load_v_init(const BackwardWork& work, const IfOffsets& offsets,
                                  NeuronsBack<kCount>& neurons) {
  SPIKECONV_UNROLL
  for (int k = 0; k < kCount; ++k) {
    neurons.v.at[k] = per_neuron<kCount>(work, work.run.v_init, offsets.v_init, k, 0.0f);
  }
}

template <int kCount>
SPIKECONV_INLINE void load_neurons(const BackwardWork& work, int64_t first,
                                   const IfOffsets& offsets, NeuronsBack<kCount>& neurons) {
  const IfWork& run = work.run;
  load_v_init(work, offsets, neurons);
  Pack<float, kCount> of_v{};
  if (work.grad_v != nullptr && !work.trace) {
    of_v = load_pack<float, kCount>(work.grad_v, first);
  }
  SPIKECONV_UNROLL
  for (int k = 0; k < kCount; ++k) {
    const float theta = per_neuron<kCount>(work, run.theta, offsets.theta, k, 0.0f);
    const float bias = per_neuron<kCount>(work, run.bias, offsets.bias, k, kNoBias);
    const float limit = limit_of<uint32_t>(theta, run.tie_fires);
    neurons.forward[k] = {theta, limit, bias, run.v_reset, run.hard};
    neurons.backward[k] = {theta,       limit,    work.psp ? theta : 1.0f,
                           run.v_reset, work.psp, work.detach_reset};
    neurons.gradients[k] = {0.0f + of_v.at[k], 0.0f, 0.0f};
  }
}

// Runs a segment of `steps` steps from t on; potentials[u] holds those of its step u before they
// could fire. All that the steps read is requested before the first of it is needed.
template <class Variant, int kCount>
SPIKECONV_INLINE void run_segment(const BackwardWork& work, const IfOffsets& offsets, int64_t t,
                                  int steps, NeuronsBack<kCount>& neurons,
                                  Pack<float, kCount> (&potentials)[kSegment]) {
  using Stored = typename Current<Variant::dtype>::Stored;
  const IfWork& run = work.run;
  const bool timed_bias = run.bias_stride_t != 0;
  Pack<Stored, kCount> x[kSegment] = {};
  Pack<float, kCount> bias[kSegment] = {};
  SPIKECONV_UNROLL
  for (int u = 0; u < kSegment; ++u) {
    if (u >= steps) {
      break;
    }
    x[u] = load_pack<Stored, kCount>(run.x.data, offsets.x + (t + u) * run.x_stride_t);
    SPIKECONV_UNROLL
    for (int k = 0; k < kCount; ++k) {
      const int64_t at_bias = offsets.bias + (t + u) * run.bias_stride_t;
      bias[u].at[k] = timed_bias ? per_neuron<kCount>(work, run.bias, at_bias, k, kNoBias)
                                 : neurons.forward[k].bias;
    }
  }
  SPIKECONV_UNROLL
  for (int u = 0; u < kSegment; ++u) {
    SPIKECONV_UNROLL
    for (int k = 0; k < kCount; ++k) {
      IfParameters<float, bool> p = neurons.forward[k];
      p.bias = bias[u].at[k];
      const float current = real_of<Variant::dtype>(x[u].at[k]);
      const float m = charged(p, neurons.v.at[k], current);
      potentials[u].at[k] = m;
      neurons.v.at[k] = discharged(p, m, m >= p.limit);
    }
  }
}

// Goes back over a segment whose potentials are known.
template <class Variant, int kCount>
SPIKECONV_INLINE void run_segment_back(const BackwardWork& work, int64_t first, int64_t t,
                                       int steps, NeuronsBack<kCount>& neurons,
                                       const Pack<float, kCount> (&potentials)[kSegment]) {
  constexpr Dtype kDtype = Variant::dtype;
  constexpr Surrogate kSurrogate = Variant::surrogate;
  using Stored = typename Current<kDtype>::Stored;
  Pack<Stored, kCount> emitted[kSegment] = {};
  Pack<float, kCount> of_v[kSegment] = {};
  Pack<float, kCount> slope[kSegment] = {};
  SPIKECONV_UNROLL
  for (int u = 0; u < kSegment; ++u) {
    const int64_t row = (t + u) * work.run.neurons + first;
    if (u < steps && work.grad_emitted != nullptr) {
      emitted[u] = load_pack<Stored, kCount>(work.grad_emitted, row);
    }
    if (u < steps && work.grad_v != nullptr && work.trace) {
      of_v[u] = load_pack<float, kCount>(work.grad_v, row);
    }
    if constexpr (kSurrogate == Surrogate::kGiven) {
      if (u < steps) {
        slope[u] = load_pack<float, kCount>(work.slope, row);
      }
    }
  }
  SPIKECONV_UNROLL
  for (int u = kSegment - 1; u >= 0; --u) {
    if (u >= steps) {
      continue;
    }
    const int64_t row = (t + u) * work.run.neurons + first;
    Pack<Stored, kCount> of_x;
    Pack<float, kCount> of_m;
    SPIKECONV_UNROLL
    for (int k = 0; k < kCount; ++k) {
      const auto& p = neurons.backward[k];
      IfGradients<float>& g = neurons.gradients[k];
      const float m = potentials[u].at[k];
      if (work.grad_v != nullptr && work.trace) {
        g.v = g.v + of_v[u].at[k];
      }
      if constexpr (kSurrogate != Surrogate::kGiven) {
        slope[u].at[k] = slope_at<kSurrogate, uint32_t>(m - p.theta, work.numbers);
      }
      const float spike = real_of<kDtype>(emitted[u].at[k]);
      of_m.at[k] = if_step_back<Variant::hard>(p, m, spike, slope[u].at[k], g);
      of_x.at[k] = static_cast<Stored>(stored<kDtype>(of_m.at[k]));
    }
    if (work.grad_x != nullptr) {
      store_pack(work.grad_x, row, of_x);
    }
    if (work.grad_m != nullptr) {
      store_pack(work.grad_m, row, of_m);
    }
  }
}

template <int kCount>
SPIKECONV_INLINE void store_gradients(const BackwardWork& work, int64_t first,
                                      const NeuronsBack<kCount>& neurons) {
  Pack<float, kCount> sum, theta, v;
  SPIKECONV_UNROLL
  for (int k = 0; k < kCount; ++k) {
    sum.at[k] = neurons.gradients[k].sum;
    theta.at[k] = neurons.gradients[k].theta;
    v.at[k] = neurons.gradients[k].v;
  }
  if (work.grad_sum != nullptr) {
    store_pack(work.grad_sum, first, sum);
  }
  if (work.grad_theta != nullptr) {
    store_pack(work.grad_theta, first, theta);
  }
  if (work.grad_v_init != nullptr) {
    store_pack(work.grad_v_init, first, v);
  }
}

// Runs neurons first, ..., first + count - 1 forward, noting v before each segment, and back.
template <class Variant>
SPIKECONV_INLINE void run_neurons_back(const BackwardWork& work, int64_t first) {
  constexpr int kCount = Variant::count;
  const IfWork& run = work.run;
  const IfOffsets offsets = offsets_of(run, first);
  NeuronsBack<kCount> neurons;
  load_neurons(work, first, offsets, neurons);
  Pack<float, kCount> potentials[kSegment];
  const int64_t last = segments_of(run.T) - 1;
  for (int64_t segment = 0; segment < last; ++segment) {
    run_segment<Variant>(work, offsets, segment * kSegment, kSegment, neurons, potentials);
    store_pack(work.starts, segment * run.neurons + first, neurons.v);
  }
  for (int64_t segment = last; segment >= 0; --segment) {
    if (segment == 0) {
      load_v_init(work, offsets, neurons);
    } else if (segment < last) {
      neurons.v = load_pack<float, kCount>(work.starts, (segment - 1) * run.neurons + first);
    }
    const int64_t t = segment * kSegment;
    const int steps = run.T - t < kSegment ? static_cast<int>(run.T - t) : kSegment;
    run_segment<Variant>(work, offsets, t, steps, neurons, potentials);
    run_segment_back<Variant>(work, first, t, steps, neurons, potentials);
  }
  store_gradients(work, first, neurons);
}

// The whole of thread `thread` out of `threads`: every threads-th group of `count` neurons.
template <class Variant>
SPIKECONV_INLINE void run_thread_back(const BackwardWork& work, int64_t thread, int64_t threads) {
  constexpr int kCount = Variant::count;
  for (int64_t first = thread * kCount; first < work.run.neurons; first += threads * kCount) {
    run_neurons_back<Variant>(work, first);
  }
}

}  // namespace spikeconv::cuda
