// Neurons in floating point over a current that is the same at every step, straight into spike
// bytes. Included inside the integer kernels' .cpp files only, once per instruction set.
#pragma once

#include "cpu/int_lanes.h"
#include "cpu/lanes.h"

namespace spikeconv::cpu::SPIKECONV_ISA {

// All steps of four pixels, whose membranes do not wait for each other, from pixel `first` on.
template <bool kSigned>
SPIKECONV_INLINE void encode_quad(const IntEncode& given, int first) {
  using L = Many;
  using Real = L::Real;
  using Net = L::Int;
  const IntEncode e = given;  // a copy that no store can alias stays in registers
  for (int lane = 0; lane < kLanes; lane += L::kCount) {
    const int left = e.channels - lane;
    IfParameters<Real, L::Mask> parameters[kPixels];
    IfState<Real, Net> state[kPixels];
    Real x[kPixels];
    Net count[kPixels] = {};
    const float* bias[kPixels];
    uint8_t* out[kPixels];
    SPIKECONV_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      const int at = first + p;
      const int there = at < e.pixels ? at : e.pixels - 1;  // what is missing repeats the last one
      x[p] = load<Real>(e.x + there * kLanes + lane);
      parameters[p].theta = load<Real>(e.theta + there * e.theta_pixel + lane);
      parameters[p].limit = parameters[p].theta;  // a tie fires
      bias[p] = e.bias + there * e.bias_pixel + lane;
      parameters[p].bias = load<Real>(bias[p]);
      parameters[p].v_reset = Real{};
      parameters[p].hard = L::Mask{};
      state[p].v = load<Real>(e.v + there * kLanes + lane);
      state[p].net = kSigned ? load<Net>(e.net + there * kLanes + lane) : Net{};
      out[p] = e.out == nullptr ? nullptr : e.out + there * e.out_pixel + lane;
    }
    for (int t = 0; t < e.steps; ++t) {
      if (t > 0 && t <= e.last_bias) {
        SPIKECONV_UNROLL
        for (int p = 0; p < kPixels; ++p) {
          parameters[p].bias = load<Real>(bias[p] + t * e.bias_step);
        }
      }
      SPIKECONV_UNROLL
      for (int p = 0; p < kPixels; ++p) {
        const IfSpike<L::Mask> s = if_step<kSigned>(parameters[p], x[p], state[p]);
        const Net spike = s.minus - s.plus;  // masks are -1 where they are true
        count[p] += spike;
        if (out[p] != nullptr) {
          const auto bytes = narrow_to_byte<L>(L::Word(spike + (kSigned ? 1 : 0)));
          if (left >= L::kCount) {
            store(out[p], bytes);
          } else {
            for (int i = 0; i < left; ++i) {
              out[p][i] = bytes[i];
            }
          }
          out[p] += e.out_step;
        }
      }
    }
    for (int p = 0; p < kPixels; ++p) {
      if (first + p >= e.pixels) {
        break;
      }
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
  for (int first = 0; first < e.pixels; first += kPixels) {
    if (e.is_signed) {
      encode_quad<true>(e, first);
    } else {
      encode_quad<false>(e, first);
    }
  }
}

}  // namespace spikeconv::cpu::SPIKECONV_ISA
