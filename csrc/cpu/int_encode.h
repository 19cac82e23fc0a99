// Neurons in floating point over a current that is the same at every step, straight into spike
// bytes. Included inside the integer kernels' .cpp files only, once per instruction set.
#pragma once

#include "cpu/int_lanes.h"
#include "cpu/lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// kParts vectors of a pixel's channels, of kPixels neighbours: chains that do not wait for another.
template <bool kSigned>
SPIKECONV_INLINE void encode_quad(const IntEncode& e, int first) {
  using L = Many;
  using Real = L::Real;
  using Mask = L::Mask;
  using IntL = L::Int;
  for (int lane = 0; lane < kLanes; lane += L::kCount) {
    IfParameters<Real, Mask> parameters[kPixels];
    IfState<Real, IntL> state[kPixels];
    Real x[kPixels];
    IntL count[kPixels] = {};
    const float* bias[kPixels];
    SPIKECONV_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      const int at = first + p;
      const int entry = at < e.pixels ? at : e.pixels - 1;  // tables end with the last pixel
      x[p] = load<Real>(e.x + at * kLanes + lane);
      parameters[p].theta = load<Real>(e.theta + entry * e.theta_pixel + lane);
      parameters[p].limit = parameters[p].theta;  // a tie fires
      bias[p] = e.bias + entry * e.bias_pixel + lane;
      parameters[p].bias = load<Real>(bias[p]);
      parameters[p].v_reset = Real{};
      parameters[p].hard = Mask{};
      state[p].v = load<Real>(e.v + at * kLanes + lane);
      state[p].net = kSigned ? load<IntL>(e.net + at * kLanes + lane) : IntL{};
    }
    for (int t = 0; t < e.steps; ++t) {
      SPIKECONV_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        if (t > 0 && t <= e.last_bias) {
          parameters[p].bias = load<Real>(bias[p] + t * e.bias_step);
        }
        const IfSpike<Mask> s = if_step<kSigned>(parameters[p], x[p], state[p]);
        // A mask is -1 where it is true.
        const IntL spike = s.minus - s.plus;
        count[p] += spike;
        if (e.out != nullptr && first + p < e.pixels) {
          const auto bytes = narrow_to_byte<L>(L::Word(spike + (kSigned ? 1 : 0)));
          uint8_t* to = e.out + (first + p) * e.out_pixel + t * e.out_step + lane;
          const int left = e.channels - lane;
          if (left >= L::kCount) {
            store(to, bytes);
          } else {
            for (int i = 0; i < left; ++i) {
              to[i] = bytes[i];
            }
          }
        }
      }
    }
    SPIKECONV_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      const int at = (first + p) * kLanes + lane;
      store(e.v + at, state[p].v);
      store(e.count + at, count[p]);
      if constexpr (kSigned) {
        store(e.net + at, state[p].net);
      }
    }
  }
}

static void encode(const IntEncode& e) {
  for (int p = 0; p < e.pixels; p += kPixels) {
    if (e.is_signed) {
      encode_quad<true>(e, p);
    } else {
      encode_quad<false>(e, p);
    }
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
