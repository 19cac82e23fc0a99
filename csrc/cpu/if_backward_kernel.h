// The CPU kernel of the backward pass: a tile of neighbouring neurons runs through time once more,
// its potentials kept in the nearest cache, and then back. Included once per instruction set; see
// if_multistep_kernel.h.
#pragma once

#include "cpu/if_backward.h"
#include "cpu/rows.h"
#include "if_gradient.h"
#include "limit.h"
#include "stored.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// Vectors in a tile: several chains of dependent steps hide each other's latency.
constexpr int kBackVectors = kMaxTile / Many::kCount < 4 ? kMaxTile / Many::kCount : 4;

// Runs kTile vectors of neurons, from neuron i on, through all steps; keeps every potential.
template <class L, int kTile, Dtype kDtype, bool kHard>
SPIKECONV_INLINE void keep_potentials(const BackwardBlock& block, int64_t i) {
  using Real = typename L::Real;
  using Mask = typename L::Mask;
  const typename L::Int zero{};
  IfParameters<Real, Mask> p[kTile];
  Real v[kTile];
  int64_t bias_at[kTile] = {};
  for (int k = 0; k < kTile; ++k) {
    const int64_t at = i + k * L::kCount;
    p[k].theta = load<Real>(block.theta, at);
    p[k].limit = limit_of<typename L::Word>(p[k].theta, block.tie_fires);
    p[k].bias = load<Real>(block.bias, at);
    p[k].v_reset = block.v_reset - Real{};
    p[k].hard = kHard ? Mask(zero == zero) : Mask(zero != zero);
    v[k] = load<Real>(block.v_init, at);
    bias_at[k] = block.bias_grouped ? at / kGroup * kMaxLanes : at * block.bias.step;
  }
  for (int64_t t = 0; t < block.steps; ++t) {
    SPIKECONV_UNROLL
    for (int k = 0; k < kTile; ++k) {
      const int64_t x_at = t * block.x_stride + i + k * L::kCount;
      prefetch_x<L, kDtype>(block.x, x_at, k);
      if (block.bias_stride != 0) {
        p[k].bias = load<Real>(block.bias.data + t * block.bias_stride + bias_at[k]);
      }
      const Real m = charged(p[k], v[k], load_x<L, kDtype>(block.x, x_at));
      store(block.potentials + (t * kTile + k) * L::kCount, m);
      v[k] = discharged(p[k], m, Mask(m >= p[k].limit));
    }
  }
}

template <class L, Dtype kDtype>
SPIKECONV_INLINE void store_x(void* to, int64_t offset, typename L::Real value) {
  using Word = typename L::Word;
  if constexpr (kDtype == Dtype::kFloat32) {
    store(static_cast<float*>(to) + offset, value);
  } else if constexpr (kDtype == Dtype::kFloat16) {
    store(static_cast<uint16_t*>(to) + offset, narrow_float16<L>(value));
  } else {
    store(static_cast<uint16_t*>(to) + offset, narrow_to_half<L>(stored<kDtype, Word>(value)));
  }
}

// The same neurons from the last step to the first.
template <class L, int kTile, Dtype kDtype, Surrogate kSurrogate, bool kHard>
SPIKECONV_INLINE void go_back_tile(const BackwardBlock& block, int64_t i) {
  using Real = typename L::Real;
  using Mask = typename L::Mask;
  using Word = typename L::Word;
  const typename L::Int zero{};
  const Mask all = Mask(zero == zero);
  const Mask none = Mask(zero != zero);
  IfGradientParameters<Real, Mask> p[kTile];
  IfGradients<Real> g[kTile] = {};
  for (int k = 0; k < kTile; ++k) {
    const int64_t at = i + k * L::kCount;
    p[k].theta = load<Real>(block.theta, at);
    p[k].limit = limit_of<Word>(p[k].theta, block.tie_fires);
    p[k].amplitude = block.psp ? p[k].theta : 1.0f - Real{};
    p[k].v_reset = block.v_reset - Real{};
    p[k].psp = block.psp ? all : none;
    p[k].detached = block.detach_reset ? all : none;
    if (block.grad_v != nullptr && !block.trace) {
      g[k].v = g[k].v + load<Real>(block.grad_v + at);
    }
  }
  for (int64_t t = block.steps - 1; t >= 0; --t) {
    SPIKECONV_UNROLL
    for (int k = 0; k < kTile; ++k) {
      const int64_t at = t * block.stride + i + k * L::kCount;
      const Real m = load<Real>(block.potentials + (t * kTile + k) * L::kCount);
      if (block.grad_v != nullptr && block.trace) {
        g[k].v = g[k].v + load<Real>(block.grad_v + at);
      }
      Real emitted{};
      if (block.grad_emitted != nullptr) {
        prefetch_x<L, kDtype>(block.grad_emitted, at, k);
        emitted = load_x<L, kDtype>(block.grad_emitted, at);
      }
      Real slope{};
      if constexpr (kSurrogate == Surrogate::kGiven) {
        slope = load<Real>(block.slope + at);
      } else {
        slope = slope_at<kSurrogate, Word>(Real(m - p[k].theta), block.numbers);
      }
      const Real of_m = if_step_back<kHard>(p[k], m, emitted, slope, g[k]);
      if (block.grad_x != nullptr) {
        store_x<L, kDtype>(block.grad_x, at, of_m);
      }
      if (block.grad_m != nullptr) {
        store(block.grad_m + at, of_m);
      }
    }
  }
  for (int k = 0; k < kTile; ++k) {
    const int64_t at = i + k * L::kCount;
    if (block.grad_sum != nullptr) {
      store(block.grad_sum + at, g[k].sum);
    }
    if (block.grad_theta != nullptr) {
      store(block.grad_theta + at, g[k].theta);
    }
    if (block.grad_v_init != nullptr) {
      store(block.grad_v_init + at, g[k].v);
    }
  }
}

template <Dtype kDtype, Surrogate kSurrogate, bool kHard>
void go_back_block(const BackwardBlock& given) {
  const BackwardBlock block = given;  // a copy that no store can alias stays in registers
  int64_t i = 0;
  for (; i + kBackVectors * Many::kCount <= block.neurons; i += kBackVectors * Many::kCount) {
    keep_potentials<Many, kBackVectors, kDtype, kHard>(block, i);
    go_back_tile<Many, kBackVectors, kDtype, kSurrogate, kHard>(block, i);
  }
  for (; i < block.neurons; ++i) {
    keep_potentials<One, 1, kDtype, kHard>(block, i);
    go_back_tile<One, 1, kDtype, kSurrogate, kHard>(block, i);
  }
}

template <Dtype kDtype, Surrogate kSurrogate>
GoBack choose_back(bool hard) {
  return hard ? go_back_block<kDtype, kSurrogate, true> : go_back_block<kDtype, kSurrogate, false>;
}

template <Dtype kDtype>
GoBack choose_back(const BackwardVariant& variant) {
  switch (variant.surrogate) {
    case Surrogate::kSigmoid:
      return choose_back<kDtype, Surrogate::kSigmoid>(variant.hard);
    case Surrogate::kATan:
      return choose_back<kDtype, Surrogate::kATan>(variant.hard);
    case Surrogate::kPiecewiseLinear:
      return choose_back<kDtype, Surrogate::kPiecewiseLinear>(variant.hard);
    default:
      return choose_back<kDtype, Surrogate::kGiven>(variant.hard);
  }
}

GoBack go_back(const BackwardVariant& variant) {
  switch (variant.dtype) {
    case Dtype::kFloat16:
      return choose_back<Dtype::kFloat16>(variant);
    case Dtype::kBFloat16:
      return choose_back<Dtype::kBFloat16>(variant);
    default:
      return choose_back<Dtype::kFloat32>(variant);
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
