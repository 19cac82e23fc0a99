// What happens to one integrate-and-fire neuron in one time-step. The kernels of CPU and
// CUDA, forward and back, include this file, and no other place in csrc/ knows the rule; that of
// whole numbers is in cpu/int_scan.h.
//
// Real, Mask and Int are float, bool and int32 for a single neuron (CUDA, and what is left over on
// the CPU), or vectors of them for several neighbours at once (GCC's vector extension, in which
// comparison, `?:` and arithmetic keep their spelling). A NaN compares false, so it never fires.
//
// Everything here has internal linkage and is always inlined: this file is compiled once per
// instruction set into the same library, and the linker must not let one set's code serve another.
#pragma once

#if defined(__CUDACC__)
#define SPIKECONV_INLINE static __host__ __device__ __forceinline__
#else
#define SPIKECONV_INLINE static inline __attribute__((always_inline))
#endif

// Before a loop over an array that has to end up in registers.
#if defined(__CUDA_ARCH__) || defined(__clang__)
#define SPIKECONV_UNROLL _Pragma("unroll")
#elif defined(__CUDACC__)  // nvcc's pass over host code knows neither spelling
#define SPIKECONV_UNROLL
#else
#define SPIKECONV_UNROLL _Pragma("GCC unroll 8")
#endif

namespace spikeconv {

// A bias that changes nothing: m + -0.0f is m for every m, also for m = -0.0f. So the step needs no
// variant without bias.
constexpr float kNoBias = -0.0f;

// What stays the same over the steps, but for a bias that has time.
template <class Real, class Mask>
struct IfParameters {
  Real theta;    // the threshold
  Real limit;    // fires from here on: theta, or the next number above it where a tie does not fire
  Real bias;     // added at this step, kNoBias where there is none
  Real v_reset;  // where a hard reset goes to
  Mask hard;     // all true: reset to v_reset. All false: subtract the threshold
};

template <class Real, class Int>
struct IfState {
  Real v;   // membrane potential
  Int net;  // spikes so far, positive minus negative; read and written by signed neurons only
};

template <class Mask>
struct IfSpike {
  Mask plus;   // fires +1
  Mask minus;  // fires -1, never together with plus; all false unless signed
};

// The potential before it can fire. The order (v + x) + bias is part of the definition.
template <class Real, class Mask>
SPIKECONV_INLINE Real charged(const IfParameters<Real, Mask>& p, Real v, Real x) {
  return (v + x) + p.bias;
}

// The potential after that: reset where plus, that is where it fired +1.
template <class Real, class Mask>
SPIKECONV_INLINE Real discharged(const IfParameters<Real, Mask>& p, Real m, Mask plus) {
  const Real lowered = p.hard ? p.v_reset : m - p.theta;
  return plus ? lowered : m;
}

// Advances state by one step with input x.
template <bool kSigned, class Real, class Mask, class Int>
SPIKECONV_INLINE IfSpike<Mask> if_step(const IfParameters<Real, Mask>& p, Real x,
                                       IfState<Real, Int>& state) {
  const Real m = charged(p, state.v, x);
  const Mask plus = m >= p.limit;
  state.v = discharged(p, m, plus);
  Mask minus{};
  if constexpr (kSigned) {
    minus = (m < 0.0f) & (state.net > 0) & (plus == 0);
    const Real raised = p.hard ? p.v_reset : m + p.theta;
    state.v = minus ? raised : state.v;
    state.net = plus ? state.net + 1 : (minus ? state.net - 1 : state.net);
  }
  return {plus, minus};
}

}  // namespace spikeconv
