// The native operators' declarations. They are private: spikeconv/ops checks, allocates and calls
// them.
//
// Neuron n of 0..N-1 has the row-major index n over `sizes`. Its operands lie at the dot product of
// that index with their strides (in elements; x also x_stride_t a step and the bias bias_stride_t),
// while the outputs are dense: emitted [T, N], or [N] for words and counts, and v [N] or [T, N]
// hold neuron n at n.
#include <torch/library.h>

#define SPIKECONV_IF_MULTISTEP                                                               \
  "(Tensor x, Tensor v_threshold, Tensor v_init, Tensor? bias, Tensor? count_init, "         \
  "Tensor(a!) emitted, Tensor(b!)? v, int T, int[] sizes, int x_stride_t, int[] x_strides, " \
  "int[] threshold_strides, int[] v_init_strides, int bias_stride_t, int[] bias_strides, "   \
  "int[] count_strides, bool hard, float v_reset, bool signed, bool tie_fires, str emit, "   \
  "str return_v) -> ()"

// The gradients, those that are read and those that are written, are dense like the outputs: [T,
// N], or [N] without time (grad_v where not trace, grad_sum, grad_threshold, grad_v_init). Those
// that are written have one element for each neuron, also where many neurons share a parameter.
#define SPIKECONV_IF_BACKWARD                                                                     \
  "(Tensor x, Tensor v_threshold, Tensor v_init, Tensor? bias, Tensor? grad_emitted, "            \
  "Tensor? grad_v, Tensor? slope, Tensor(a!)? grad_x, Tensor(b!)? grad_m, "                       \
  "Tensor(c!)? grad_sum, Tensor(d!)? grad_threshold, Tensor(e!)? grad_v_init, int T, "            \
  "int[] sizes, int x_stride_t, int[] x_strides, int[] threshold_strides, "                       \
  "int[] v_init_strides, int bias_stride_t, int[] bias_strides, bool hard, float v_reset, "       \
  "bool tie_fires, bool psp, bool trace, bool detach_reset, str surrogate, float a, float b) -> " \
  "()"

TORCH_LIBRARY_FRAGMENT(spikeconv, library) {
  library.def("_if_multistep_cpp" SPIKECONV_IF_MULTISTEP, {at::Tag::pt2_compliant_tag});
  library.def("_if_backward_cpp" SPIKECONV_IF_BACKWARD, {at::Tag::pt2_compliant_tag});
#if defined(SPIKECONV_WITH_CUDA)
  library.def("_if_multistep_cuda" SPIKECONV_IF_MULTISTEP, {at::Tag::pt2_compliant_tag});
  library.def("_if_backward_cuda" SPIKECONV_IF_BACKWARD, {at::Tag::pt2_compliant_tag});
#endif
  // The instruction set of the CPU kernels, and all that this processor has, best last.
  library.def("_cpu_isa() -> str", {at::Tag::pt2_compliant_tag});
  library.def("_cpu_isas() -> str[]", {at::Tag::pt2_compliant_tag});
}
