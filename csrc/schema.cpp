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

TORCH_LIBRARY_FRAGMENT(spikeconv, library) {
  library.def("_if_multistep_cpp" SPIKECONV_IF_MULTISTEP, {at::Tag::pt2_compliant_tag});
#if defined(SPIKECONV_WITH_CUDA)
  library.def("_if_multistep_cuda" SPIKECONV_IF_MULTISTEP, {at::Tag::pt2_compliant_tag});
#endif
  // The instruction set of the CPU kernels, and all that this processor has, best last.
  library.def("_cpu_isa() -> str", {at::Tag::pt2_compliant_tag});
  library.def("_cpu_isas() -> str[]", {at::Tag::pt2_compliant_tag});
}
