#include "cpu/int_narrow.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace spikeconv::cpu {

bool sums_are_narrow(const std::vector<IntSource>& sources, const IntLayer& layer,
                     const std::vector<at::Tensor>& weights) {
  at::Tensor most = at::zeros({layer.channels}, at::kLong), least = most.clone();
  for (size_t i = 0; i < weights.size(); ++i) {
    const int64_t largest = sources[layer.convolutions[i].window.source].largest_byte();
    most += weights[i].clamp_min(0).sum({1, 2, 3}, false, at::kLong) * largest;
    least += weights[i].clamp_max(0).sum({1, 2, 3}, false, at::kLong) * largest;
  }
  using Limits = std::numeric_limits<int16_t>;
  return most.max().item<int64_t>() <= Limits::max() &&
         least.min().item<int64_t>() >= Limits::min();
}

bool can_be_narrow(const std::vector<IntSource>& sources, const IntLayer& layer,
                   const std::vector<at::Tensor>& weights) {
  constexpr int64_t kEnd = int64_t{1} << (kNarrowBits - 1);
  return layer.shift < 15 && sums_are_narrow(sources, layer, weights) &&
         std::all_of(
             layer.shortcuts.begin(), layer.shortcuts.end(),
             [&](const auto& shortcut) {
               return sources[shortcut.source].largest_byte() <= kNarrowByte &&
                      shortcut.coefficient.min().template item<int32_t>() >= -kEnd &&
                      shortcut.coefficient.max().template item<int32_t>() < kEnd;
             });
}

at::Tensor split(const at::Tensor& coefficient) {
  const at::Tensor rest = coefficient.div(256, "floor");
  return rest * 65536 + (coefficient - rest * 256);
}

}  // namespace spikeconv::cpu
