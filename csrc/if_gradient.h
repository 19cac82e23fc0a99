// What one time-step of one integrate-and-fire neuron is backwards; if_neuron.h has the step itself
// and says what Real and Mask are. spikeconv/ops/reference.py is the definition.
#pragma once

#include "if_neuron.h"

namespace spikeconv {

// What stays the same over the steps.
template <class Real, class Mask>
struct IfGradientParameters {
  Real theta;
  Real limit;      // fires from here on
  Real amplitude;  // what a spike was emitted as: theta or 1
  Real v_reset;
  Mask psp;       // all true: it was theta
  Mask detached;  // all true: no gradient through the spikes that reset
};

// Gradients of one neuron that go from step to step, the last step first.
template <class Real>
struct IfGradients {
  Real v;      // of the potential that the step before hands on
  Real theta;  // so far
  Real sum;    // of the potentials before they could fire, so far
};

// Goes back over one step with potential m, whose spike had the gradient `emitted` and the
// surrogate derivative `slope`. Returns the gradient of m, which is also that of x and the bias.
template <bool kHard, class Real, class Mask>
SPIKECONV_INLINE Real if_step_back(const IfGradientParameters<Real, Mask>& p, Real m, Real emitted,
                                   Real slope, IfGradients<Real>& g) {
  const Real zero = Real{};
  const Mask fired = m >= p.limit;
  const Real of_spike = p.amplitude * emitted;
  const Real of_reset = (kHard ? p.v_reset - m : -p.theta) * g.v;
  const Real through = (p.detached ? of_spike : of_spike + of_reset) * slope;
  const Real fired_v = fired ? g.v : zero;
  const Real fired_emitted = fired ? emitted : zero;
  const Real lowered = kHard ? g.theta - through : (g.theta - through) - fired_v;
  g.theta = p.psp ? lowered + fired_emitted : lowered;
  const Real kept = kHard ? (fired ? zero : g.v) : g.v;
  const Real of_m = kept + through;
  g.sum = g.sum + of_m;
  g.v = of_m;
  return of_m;
}

}  // namespace spikeconv
