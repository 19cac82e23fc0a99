#include "cpu/int_lookup_layer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <utility>

#include "cpu/int_narrow.h"
#include "cpu/int_pack.h"
#include "cpu/int_sizes.h"

namespace spikeconv::cpu {
namespace {

// Entries of `edges`, at most, that are worth their memory.
constexpr int64_t kMostEdges = int64_t{1} << 20;

bool is_spikes(const IntSource& source) { return source.largest_byte() == 1 && !source.is_static; }

// By convolution, and by byte from the lowest on.
using Bytes = std::vector<std::vector<at::Tensor>>;

// Whether the sums of each byte have 16 bits.
bool bytes_are_narrow(const std::vector<IntSource>& sources, const IntLayer& layer,
                      const Bytes& bytes, int passes) {
  for (int pass = 0; pass < passes; ++pass) {
    std::vector<at::Tensor> weights;
    for (const std::vector<at::Tensor>& each : bytes) {
      const auto count = static_cast<int>(each.size());
      weights.push_back(pass < count ? each[pass] : at::zeros_like(each[0]));
    }
    if (!sums_are_narrow(sources, layer, weights)) {
      return false;
    }
  }
  return true;
}

bool can_look_up(const std::vector<IntSource>& sources, const IntLayer& layer, const Bytes& bytes,
                 int passes) {
  const bool plain = layer.out >= 0 && !layer.is_signed && layer.v_init.size(1) == 1 &&
                     layer.bias.size(1) == 1 && (layer.shift < 15 || passes > 1);
  const auto& convolutions = layer.convolutions;
  if (!plain || convolutions.empty()) {
    return false;
  }
  for (const IntConvolution& each : convolutions) {
    if (!is_spikes(sources[each.window.source]) || each.window.groups != 1) {
      return false;
    }
  }
  return std::all_of(
             layer.shortcuts.begin(), layer.shortcuts.end(),
             [&](const IntShortcutTerm& each) { return is_spikes(sources[each.source]); }) &&
         bytes_are_narrow(sources, layer, bytes, passes);
}

// Of each group, the positions whose tap lies within the image.
std::vector<uint32_t> positions_inside(const IntLookupLayer& to, const IntLayer& layer,
                                       const IntSource& source, const IntWindow& window,
                                       const IntLookupWindow::Tap& tap) {
  std::vector<uint32_t> inside(to.groups, 0);
  for (int64_t y = 0; y < layer.height; ++y) {
    const int64_t row = y * window.stride_y + tap.y;
    if (row < 0 || row >= source.height) {
      continue;
    }
    for (int64_t x = 0; x < layer.width; ++x) {
      const int64_t column = x * window.stride_x + tap.x;
      if (column >= 0 && column < source.width) {
        const int64_t position = y * to.pitch + x;
        inside[position / kPositions] |= 1u << position % kPositions;
      }
    }
  }
  return inside;
}

// The form in which a layer reads a source.
IntWordForm form_of(const IntLookupLayer& to, const IntLayer& layer, const IntSource& source,
                    IntWordForm form) {
  form.rows = std::max(layer.height, ceil_div(source.height, form.stride_y));
  form.pitch = to.pitch;
  return form;
}

IntLookupWindow window_of(const IntLookupLayer& to, const IntLayer& layer, const IntSource& source,
                          const IntWindow& window, const std::vector<at::Tensor>& bytes,
                          const IntLookupKernels& kernels) {
  IntLookupWindow made{
      form_of(to, layer, source, {window.source, window.stride_y, window.stride_x, 0, 0}),
      {},
      {},
      {},
      {}};
  std::vector<std::vector<uint32_t>> edges;  // by tap
  for (int64_t table = 0; table < window.kernel_y * window.kernel_x; ++table) {
    const IntLookupWindow::Tap tap{table / window.kernel_x * window.dilation_y - window.above,
                                   table % window.kernel_x * window.dilation_x - window.left,
                                   table};
    std::vector<uint32_t> inside = positions_inside(to, layer, source, window, tap);
    if (std::any_of(inside.begin(), inside.end(), [](uint32_t each) { return each != 0; })) {
      made.taps.push_back(tap);
      edges.push_back(std::move(inside));
    }
  }
  std::map<uint32_t, uint32_t> rows;  // of each pattern, of which there are few
  for (int64_t group = 0; group < to.groups; ++group) {
    for (const std::vector<uint32_t>& edge : edges) {
      const auto row = rows.emplace(edge[group], static_cast<uint32_t>(rows.size())).first;
      made.edges.push_back(row->second);
    }
  }
  made.inside = at::zeros({static_cast<int64_t>(rows.size()), kPositions}, at::kShort);
  int16_t* inside = made.inside.mutable_data_ptr<int16_t>();
  for (const auto& [positions, row] : rows) {
    for (int i = 0; i < kPositions; ++i) {
      inside[row * kPositions + i] = (positions >> i & 1) != 0 ? -1 : 0;
    }
  }
  for (const at::Tensor& each : bytes) {
    made.tables.push_back(pack_tables(each.to(at::kChar), kernels));
  }
  return made;
}

}  // namespace

std::optional<IntLookupLayer> make_lookup_layer(const std::vector<IntSource>& sources,
                                                const IntLayer& layer,
                                                const std::vector<at::Tensor>& weights,
                                                const IntLookupKernels& kernels) {
  if (kernels.run == nullptr) {
    return {};
  }
  IntLookupLayer to{};
  Bytes bytes_of;
  for (const at::Tensor& each : weights) {
    bytes_of.push_back(split_bytes("_IntegerProgram.add_layer", each));
    to.passes = std::max(to.passes, static_cast<int>(bytes_of.back().size()));
  }
  if (!can_look_up(sources, layer, bytes_of, to.passes)) {
    return {};
  }
  to.pitch = layer.width;
  int64_t taps = 0, words = 0, bytes = 0;
  for (const IntConvolution& each : layer.convolutions) {
    const IntSource& source = sources[each.window.source];
    to.pitch = std::max(to.pitch, ceil_div(source.width, each.window.stride_x));
    taps += each.window.kernel_y * each.window.kernel_x;
    words += each.window.kernel_y * each.window.kernel_x * ceil_div(source.channels, kLanes);
    bytes += each.window_bytes();
  }
  for (const IntShortcutTerm& each : layer.shortcuts) {
    to.pitch = std::max(to.pitch, ceil_div(sources[each.source].width, each.stride_x));
  }
  to.groups = ceil_div(layer.height * to.pitch, kPositions);
  const double room = static_cast<double>(to.groups * kPositions) / layer.pixels() *
                      static_cast<double>(words * kLanes) / static_cast<double>(bytes);
  if (words > kernels.most_taps || room > kernels.most_room || to.groups * taps > kMostEdges) {
    return {};
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    const IntWindow& window = layer.convolutions[i].window;
    to.windows.push_back(
        window_of(to, layer, sources[window.source], window, bytes_of[i], kernels));
  }
  for (const IntShortcutTerm& each : layer.shortcuts) {
    const IntWordForm form =
        form_of(to, layer, sources[each.source], {each.source, each.stride_y, each.stride_x, 0, 0});
    to.jumps.push_back({form, each.channel, each.channels, each.coefficient});
  }
  return to;
}

}  // namespace spikeconv::cpu
