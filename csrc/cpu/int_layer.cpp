#include "cpu/int_layer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "cpu/int_narrow.h"
#include "cpu/int_pack.h"
#include "cpu/int_sizes.h"

namespace spikeconv::cpu {
namespace {

constexpr char kName[] = "_IntegerProgram.add_layer";
constexpr int64_t kNumbersOfWindow = 8;
constexpr int64_t kNumbersOfPlace = 4;

void check_size(const char* name, int64_t value, int64_t least) {
  TORCH_CHECK(value >= least && value <= kLargestSize, kName, ": ", name, " must be from ", least,
              " to ", kLargestSize, ", got ", value);
}

const IntSource& source_at(const std::vector<IntSource>& sources, int64_t index) {
  TORCH_CHECK(index >= 0 && index < static_cast<int64_t>(sources.size()), kName,
              ": a source must be from 0 to ", static_cast<int64_t>(sources.size()) - 1, ", got ",
              index);
  return sources[index];
}

// A table of int32 values for each channel or each neuron, with leading dimensions.
at::Tensor check_table(const char* name, const at::Tensor& table, int64_t lead,
                       at::IntArrayRef shape) {
  TORCH_CHECK(table.defined() && table.device().is_cpu() && table.scalar_type() == at::kInt, kName,
              ": ", name, " must be an int32 tensor on the CPU");
  const at::IntArrayRef own = table.sizes().slice(std::min<int64_t>(lead, table.dim()));
  TORCH_CHECK(own == shape.slice(0, 1) || own == shape, kName, ": ", name, " must end in ",
              shape.slice(0, 1), " or ", shape, ", got ", table.sizes());
  return table.contiguous();
}

// From [lead, K] or [lead, K, H, W] to [lead, pixels or 1, blocks * 16].
at::Tensor channels_last(const at::Tensor& table, int64_t lead, int64_t channels, int64_t padded,
                         int32_t beyond) {
  const at::Tensor flat = table.reshape({lead, channels, -1}).transpose(1, 2);
  at::Tensor to = at::full({lead, flat.size(1), padded}, beyond, table.options());
  to.slice(2, 0, channels).copy_(flat);
  return to;
}

// Every block of a convolution reads all channels of its source, and those are 0 or 1.
bool reads_all_spikes(const IntConvolution& convolution, const IntSource& source) {
  return convolution.same_channels && convolution.channels == source.channels &&
         source.largest_byte() == 1;
}

IntConvolution make_convolution(const std::vector<IntSource>& sources, const at::Tensor& weight,
                                at::IntArrayRef numbers, at::IntArrayRef shape,
                                const IntKernels& kernels) {
  TORCH_CHECK(weight.defined() && weight.device().is_cpu() && weight.dim() == 4 &&
                  weight_bytes(weight.scalar_type()) > 0,
              kName, ": weights must be int8, int16 or int32 [K, C / groups, kh, kw] on the CPU");
  IntConvolution to{};
  to.window = {numbers[0], weight.size(2), weight.size(3), numbers[1], numbers[2],
               numbers[3], numbers[4],     numbers[5],     numbers[6], numbers[7]};
  const IntWindow& w = to.window;
  const IntSource& source = source_at(sources, w.source);
  TORCH_CHECK(!source.is_static, kName, ": weights read source ", w.source,
              ", which is static, so that only a shortcut can");
  check_size("a kernel's height", w.kernel_y, 1);
  check_size("a kernel's width", w.kernel_x, 1);
  check_size("stride", std::min(w.stride_y, w.stride_x), 1);
  check_size("stride", std::max(w.stride_y, w.stride_x), 1);
  check_size("padding", std::min(w.above, w.left), 0);
  check_size("padding", std::max(w.above, w.left), 0);
  check_size("dilation", std::min(w.dilation_y, w.dilation_x), 1);
  check_size("dilation", std::max(w.dilation_y, w.dilation_x), 1);
  check_size("groups", w.groups, 1);
  TORCH_CHECK(weight.size(0) == shape[0] && shape[0] % w.groups == 0 &&
                  weight.size(1) * w.groups == source.channels,
              kName, ": weights must be [", shape[0], ", ", source.channels, " / groups, kh, kw] ",
              "with groups dividing both, got ", weight.sizes(), " and groups ", w.groups);
  check_reach(
      kName, "a convolution", "rows",
      {shape[1], w.stride_y, w.above, w.extent_y(), source.height, source.above, source.below});
  check_reach(
      kName, "a convolution", "columns",
      {shape[2], w.stride_x, w.left, w.extent_x(), source.width, source.left, source.right});
  if (w.groups == source.channels && w.groups == shape[0]) {
    to.channelwise = true;
    to.n_runs = w.kernel_y * w.kernel_x;
    to.quads = 1;  // a value of 32 bits for each channel
    for (int64_t c = 0; c < source.channels; c += kLanes) {
      to.first_channel.push_back(c);
    }
    to.bytes = {pack_channelwise(weight)};
    to.wide = weight_bytes(weight.scalar_type()) > 2;
    return to;
  }
  const Channels channels = channels_of(shape[0], w.groups, weight.size(1));
  to.channels = channels.count;
  to.rows_are_runs = channels.count == source.channels && w.dilation_x == 1;
  to.n_runs = to.rows_are_runs ? w.kernel_y : w.kernel_y * w.kernel_x;
  const int64_t bytes = to.rows_are_runs ? w.kernel_x * channels.count : channels.count;
  to.quads = ceil_div(bytes, kernels.run_bytes) * kernels.run_bytes / kQuad;
  to.first_channel = channels.first;
  // Two products to a sum, of a byte and at most 128.
  to.narrow = std::numeric_limits<int16_t>::max() / (2 * 128 * source.largest_byte());
  to.same_channels =
      std::all_of(channels.first.begin(), channels.first.end(), [](int64_t c) { return c == 0; });
  for (const at::Tensor& part : split_bytes(kName, weight)) {
    to.bytes.push_back(pack_quads(part, to, channels));
  }
  return to;
}

// Packs the rows of all convolutions that are not channelwise, or of none: whether the sums of
// these can be made from events, and a window without any takes no longer by that.
bool pack_events(const std::vector<IntSource>& sources, const IntEventKernels& kernels,
                 const std::vector<at::Tensor>& weights, IntLayer* layer) {
  float gain = 0;
  bool any = false;
  for (const IntConvolution& each : layer->convolutions) {
    if (each.channelwise) {
      continue;
    }
    if (kernels.list == nullptr || !reads_all_spikes(each, sources[each.window.source]) ||
        each.window_bytes() > kLargestWindow) {
      return false;
    }
    gain += gain_of_silence(kernels, each, layer->blocks);
    any = true;
  }
  if (!any || gain < 0) {
    return false;
  }
  for (size_t i = 0; i < weights.size(); ++i) {
    IntConvolution& to = layer->convolutions[i];
    if (!to.channelwise) {
      const Channels channels =
          channels_of(weights[i].size(0), to.window.groups, weights[i].size(1));
      for (const at::Tensor& part : split_bytes(kName, weights[i])) {
        to.rows.push_back(pack_rows(part, to, channels));
      }
    }
  }
  return true;
}

IntShortcutTerm make_shortcut(const std::vector<IntSource>& sources, const at::Tensor& given,
                              at::IntArrayRef numbers, at::IntArrayRef shape, int64_t padded) {
  const IntSource& source = source_at(sources, numbers[0]);
  const int64_t stride_y = numbers[1], stride_x = numbers[2], channel = numbers[3];
  check_size("a shortcut's stride", std::min(stride_y, stride_x), 1);
  check_size("a shortcut's stride", std::max(stride_y, stride_x), 1);
  TORCH_CHECK(channel >= 0 && channel + source.channels <= shape[0], kName,
              ": a shortcut's channels must be within ", shape[0], ", got ", source.channels,
              " from ", channel, " on");
  TORCH_CHECK(
      ceil_div(source.height, stride_y) >= shape[1] && ceil_div(source.width, stride_x) >= shape[2],
      kName, ": a shortcut's source of ", source.height, " x ", source.width, " is too small for ",
      shape[1], " x ", shape[2], " neurons at stride ", stride_y, ", ", stride_x);
  const at::Tensor coefficient =
      check_table("a coefficient", given, 0, at::IntArrayRef(source.channels));
  at::Tensor packed = at::zeros({padded}, at::kInt);
  packed.slice(0, channel, channel + source.channels).copy_(coefficient);
  return {numbers[0], stride_y, stride_x, channel, source.channels, packed, {}};
}

// What the zero points add to every membrane at every step, int32 [K], modulo 2^32.
at::Tensor zero_points(const std::vector<IntSource>& sources, const IntLayer& layer,
                       const std::vector<at::Tensor>& weights) {
  at::Tensor total = at::zeros({layer.channels}, at::kLong);
  for (size_t i = 0; i < weights.size(); ++i) {
    const int64_t zero = sources[layer.convolutions[i].window.source].zero();
    total += weights[i].sum({1, 2, 3}, false, at::kLong) * (zero << layer.shift);
  }
  for (const IntShortcutTerm& shortcut : layer.shortcuts) {
    total += shortcut.coefficient.slice(0, 0, layer.channels).to(at::kLong) *
             static_cast<int64_t>(sources[shortcut.source].zero());
  }
  return total;
}

}  // namespace

void IntConvolution::runs(int64_t dilated_row, int64_t dilated_pixel, int64_t* to) const {
  for (int64_t y = 0; y < window.kernel_y; ++y) {
    if (rows_are_runs) {
      *to++ = y * dilated_row;
      continue;
    }
    for (int64_t x = 0; x < window.kernel_x; ++x) {
      *to++ = y * dilated_row + x * dilated_pixel;
    }
  }
}

float gain_of_silence(const IntEventKernels& kernels, const IntConvolution& convolution,
                      int64_t blocks) {
  return static_cast<float>(convolution.window_bytes() * blocks * convolution.passes()) -
         kernels.run_cost * static_cast<float>(convolution.n_runs * ceil_div(blocks, kBlocks)) -
         kernels.window_cost * static_cast<float>(ceil_div(blocks, kPair));
}

IntLayer make_int_layer(const std::vector<IntSource>& sources, const IntLayerArguments& a,
                        const IntKernels& kernels) {
  TORCH_CHECK(a.shape.size() == 3, kName, ": shape must be [K, H, W], got ", a.shape);
  for (const int64_t size : a.shape) {
    check_size("shape's entries", size, 1);
  }
  TORCH_CHECK(a.shift >= 0 && a.shift < 32, kName, ": shift must be from 0 to 31, got ", a.shift);
  TORCH_CHECK(a.windows.size() == a.weights.size() * kNumbersOfWindow, kName,
              ": windows must have ", kNumbersOfWindow, " numbers for each weight");
  TORCH_CHECK(a.places.size() == a.coefficients.size() * kNumbersOfPlace, kName,
              ": places must have ", kNumbersOfPlace, " numbers for each coefficient");
  IntLayer layer{};
  layer.channels = a.shape[0];
  layer.height = a.shape[1];
  layer.width = a.shape[2];
  layer.blocks = ceil_div(layer.channels, kLanes);
  layer.shift = static_cast<int>(a.shift);
  layer.is_signed = a.is_signed;
  layer.out = a.out;
  if (a.out != -1) {
    const IntSource& out = source_at(sources, a.out);
    TORCH_CHECK(out.channels == layer.channels && out.height == layer.height &&
                    out.width == layer.width && out.largest == 1 && out.is_signed == a.is_signed &&
                    !out.is_static,
                kName, ": source ", a.out, " must be of the layer's shape and sign");
  }
  const int64_t padded = layer.blocks * kLanes;
  for (size_t i = 0; i < a.weights.size(); ++i) {
    layer.convolutions.push_back(make_convolution(
        sources, a.weights[i], a.windows.slice(i * kNumbersOfWindow, kNumbersOfWindow), a.shape,
        kernels));
  }
  layer.in_pairs = std::all_of(
      layer.convolutions.begin(), layer.convolutions.end(),
      [](const IntConvolution& each) { return each.same_channels || each.channelwise; });
  layer.takes_events = pack_events(sources, kernels.events, a.weights, &layer);
  for (size_t i = 0; i < a.coefficients.size(); ++i) {
    layer.shortcuts.push_back(make_shortcut(sources, a.coefficients[i],
                                            a.places.slice(i * kNumbersOfPlace, kNumbersOfPlace),
                                            a.shape, padded));
  }
  layer.is_narrow = can_be_narrow(sources, layer, a.weights);
  const at::Tensor theta = check_table("theta", a.theta, 0, a.shape.slice(0, 1));
  TORCH_CHECK(theta.min().item<int32_t>() >= 1, kName, ": theta must be 1 or more");
  layer.theta =
      channels_last(theta, 1, layer.channels, padded, std::numeric_limits<int32_t>::max());
  layer.v_init =
      channels_last(check_table("v_init", a.v_init, 0, a.shape), 1, layer.channels, padded, 0);
  const at::Tensor bias = check_table("bias", a.bias, 1, a.shape);
  TORCH_CHECK(bias.size(0) >= 1, kName, ": bias must have a row or more, got none");
  const at::Tensor full =
      channels_last(bias, bias.size(0), layer.channels, padded, 0).to(at::kLong);
  full.slice(2, 0, layer.channels).sub_(zero_points(sources, layer, a.weights));
  layer.bias = full.to(at::kInt).contiguous();  // modulo 2^32
  for (IntShortcutTerm& shortcut : layer.shortcuts) {
    shortcut.factors = layer.is_narrow ? split(shortcut.coefficient) : shortcut.coefficient;
  }
  return layer;
}

}  // namespace spikeconv::cpu
