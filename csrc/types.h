// Names shared by the torch side and the kernels. Knows neither torch nor the standard library: the
// .cu files and the CPU kernels, which are compiled once per instruction set, include it.
#pragma once

namespace spikeconv {

// What x, and with it a float spike, is stored as.
enum class Dtype { kFloat32, kFloat16, kBFloat16 };

// What a population hands on; "emit" in Python.
enum class Emit { kSpikes, kPsp, kUint8, kWords, kCount };

// What stands for the derivative of a spike; kGiven: a tensor has it for every step and neuron.
enum class Surrogate { kSigmoid, kATan, kPiecewiseLinear, kGiven };

}  // namespace spikeconv
