// Neurons in floating point over a current that is the same at every step, straight into words of
// spikes. Included inside the integer kernels' .cpp files only, once per instruction set that looks
// sums up.
#pragma once

#include "cpu/int_tile.h"
#include "cpu/lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// Steps and channels that are run together, whose words and membranes stay in registers, and
// membranes do not wait for each other.
constexpr int kWordSteps = SPIKECONV_LANES / 2;
constexpr int kWordChannels = 4;

// In every lane, as it is: a sum with zero would lose the sign of -0.0.
SPIKECONV_INLINE Many::Real everywhere(float value) { return value - Many::Real{}; }

// Some channels over some steps: adds their spikes to the words.
SPIKECONV_INLINE void encode_some(const IntEncodeWords& e, const float* x, int64_t channel_x,
                                  int channel, int begin, int steps, Many::Real (&v)[kLanes],
                                  Many::Word (&words)[kWordSteps]) {
  using L = Many;
  using Real = L::Real;
  Real current[kWordChannels];
  IfParameters<Real, L::Mask> parameters[kWordChannels]{};
  IfState<Real, L::Int> state[kWordChannels];
  SPIKECONV_UNROLL
  for (int i = 0; i < kWordChannels; ++i) {
    const int c = channel + i;
    current[i] = load<Real>(x + c * channel_x);
    parameters[i].theta = parameters[i].limit = everywhere(e.theta[c]);  // a tie fires
    state[i].v = v[c];
  }
  SPIKECONV_UNROLL
  for (int t = 0; t < kWordSteps; ++t) {
    if (t == steps) {
      break;
    }
    const int64_t row = begin + t < e.last_bias ? begin + t : e.last_bias;
    SPIKECONV_UNROLL
    for (int i = 0; i < kWordChannels; ++i) {
      parameters[i].bias = everywhere(e.bias[row * e.bias_step + channel + i]);
      const IfSpike<L::Mask> s = if_step<false>(parameters[i], current[i], state[i]);
      words[t] = s.plus ? words[t] | (1u << (channel + i)) : words[t];
    }
  }
  SPIKECONV_UNROLL
  for (int i = 0; i < kWordChannels; ++i) {
    v[channel + i] = state[i].v;
  }
}

// The pixels from `first` on, as many as an instruction holds.
static void encode_pixels(const IntEncodeWords& e, int first) {
  const int pixels = e.pixels - first < Many::kCount ? e.pixels - first : Many::kCount;
  const float* x = e.x + first;
  int64_t channel_x = e.channel;
  float padded[kLanes * Many::kCount];
  if (pixels < Many::kCount || e.channels < kLanes) {
    __builtin_memset(padded, 0, sizeof padded);
    for (int c = 0; c < e.channels; ++c) {
      __builtin_memcpy(padded + c * Many::kCount, x + c * channel_x, pixels * sizeof(float));
    }
    x = padded;
    channel_x = Many::kCount;
  }
  Many::Real v[kLanes];
  for (int c = 0; c < kLanes; ++c) {
    v[c] = everywhere(e.v_init[c]);
  }
  for (int begin = 0; begin < e.steps; begin += kWordSteps) {
    const int steps = e.steps - begin < kWordSteps ? e.steps - begin : kWordSteps;
    Many::Word words[kWordSteps] = {};
    for (int channel = 0; channel < e.channels; channel += kWordChannels) {
      encode_some(e, x, channel_x, channel, begin, steps, v, words);
    }
    for (int t = 0; t < steps; ++t) {
      const Many::Half row = narrow_to_half<Many>(words[t]);
      uint16_t* to = e.out + (begin + t) * e.out_step + first;
      if (pixels == Many::kCount) {
        store(to, row);
      } else {
        __builtin_memcpy(to, &row, pixels * sizeof(uint16_t));
      }
    }
  }
}

static void encode_words(const IntEncodeWords& e) {
  for (int first = 0; first < e.pixels; first += Many::kCount) {
    encode_pixels(e, first);
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
