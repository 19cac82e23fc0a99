#include "cpu/int_pack.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "cpu/int_sizes.h"
#include "cpu/int_tile.h"

namespace spikeconv::cpu {
namespace {

// Calls to(k, run, byte in the run, weight) for all.
template <class To>
void each_weight(const at::Tensor& weight, const IntConvolution& of, const Channels& channels,
                 const To& to) {
  const int64_t outputs = weight.size(0), inputs = weight.size(1);
  const int64_t per_group_out = outputs / of.window.groups;
  const int64_t taps_y = of.window.kernel_y, taps_x = of.window.kernel_x;
  const at::Tensor plain = weight.to(at::kChar).contiguous();
  const int8_t* from = plain.const_data_ptr<int8_t>();
  for (int64_t k = 0; k < outputs; ++k) {
    const int64_t shift = k / per_group_out * inputs - channels.first[k / kLanes];
    for (int64_t c = 0; c < inputs; ++c) {
      for (int64_t y = 0; y < taps_y; ++y) {
        for (int64_t x = 0; x < taps_x; ++x) {
          const int64_t run = of.rows_are_runs ? y : y * taps_x + x;
          to(k, run, (of.rows_are_runs ? x * channels.count : 0) + shift + c, *from++);
        }
      }
    }
  }
}

}  // namespace

int weight_bytes(at::ScalarType type) {
  switch (type) {
    case at::kChar:
      return 1;
    case at::kShort:
      return 2;
    case at::kInt:
      return kMostBytes;
    default:
      return 0;
  }
}

std::vector<at::Tensor> split_bytes(const char* name, const at::Tensor& weight) {
  const int n = weight_bytes(weight.scalar_type());
  std::vector<at::Tensor> bytes;
  at::Tensor rest = weight.to(at::kLong);
  for (int i = 1; i < n; ++i) {
    bytes.push_back(rest.add(128).bitwise_and(255).sub(128));
    rest = rest.sub(bytes.back()).div(256, "floor");
  }
  const int64_t units = ((int64_t{1} << (8 * n)) - 1) / 255;  // 1, 257, 65793
  TORCH_CHECK(weight.numel() == 0 ||
                  (rest.min().item<int64_t>() >= -128 && rest.max().item<int64_t>() < 128),
              name, ": weights of ", n, " bytes must be from ", -128 * units, " to ", 127 * units);
  bytes.push_back(rest);
  return bytes;
}

Channels channels_of(int64_t outputs, int64_t groups, int64_t per_group_in) {
  const int64_t per_group_out = outputs / groups;
  Channels channels{{}, 0};
  for (int64_t k = 0; k < outputs; k += kLanes) {
    const int64_t last = std::min<int64_t>(k + kLanes, outputs) - 1;
    const int64_t first = k / per_group_out * per_group_in;
    channels.first.push_back(first);
    channels.count = std::max(channels.count, (last / per_group_out + 1) * per_group_in - first);
  }
  for (int64_t& first : channels.first) {
    first = std::min(first, groups * per_group_in - channels.count);
  }
  return channels;
}

at::Tensor pack_quads(const at::Tensor& weight, const IntConvolution& to,
                      const Channels& channels) {
  const int64_t blocks = ceil_div(weight.size(0), kLanes);
  at::Tensor packed = at::zeros({blocks * to.block_bytes()}, at::kChar);
  int8_t* data = packed.mutable_data_ptr<int8_t>();
  each_weight(weight, to, channels, [&](int64_t k, int64_t run, int64_t byte, int8_t value) {
    const int64_t quad = run * to.quads + byte / kQuad;
    data[k / kLanes * to.block_bytes() + quad * kLanes * kQuad + k % kLanes * kQuad +
         byte % kQuad] = value;
  });
  return packed;
}

at::Tensor pack_rows(const at::Tensor& weight, const IntConvolution& to, const Channels& channels) {
  constexpr int64_t kRow = kBlocks * kLanes;
  const int64_t places = to.window_bytes(), run_bytes = places / to.n_runs;
  const int64_t tiles = ceil_div(weight.size(0), kRow);
  at::Tensor packed = at::zeros({tiles * (places + 1) * kRow}, at::kChar);
  int8_t* data = packed.mutable_data_ptr<int8_t>();
  each_weight(weight, to, channels, [&](int64_t k, int64_t run, int64_t byte, int8_t value) {
    data[(k / kRow * (places + 1) + run * run_bytes + byte) * kRow + k % kRow] = value;
  });
  return packed;
}

at::Tensor pack_tables(const at::Tensor& weight, const IntLookupKernels& kernels) {
  const int64_t outputs = weight.size(0), blocks = ceil_div(outputs, kLanes);
  const int64_t parts = ceil_div(weight.size(1), kLanes);
  const int64_t taps = weight.size(2) * weight.size(3);
  at::Tensor packed = at::empty({blocks, taps, parts, kLanes, kernels.table_bytes}, at::kByte);
  at::Tensor plain = at::zeros({blocks * kLanes, taps, parts * kLanes}, at::kChar);
  plain.slice(0, 0, outputs).slice(2, 0, weight.size(1)).copy_(weight.flatten(2).transpose(1, 2));
  const int8_t* from = plain.const_data_ptr<int8_t>();
  uint8_t* data = packed.mutable_data_ptr<uint8_t>();
  for (int64_t k = 0; k < blocks * kLanes; ++k) {
    for (int64_t i = 0; i < taps * parts; ++i) {
      const int64_t table = (k / kLanes * taps * parts + i) * kLanes + k % kLanes;
      kernels.table(from, data + table * kernels.table_bytes);
      from += kLanes;
    }
  }
  return packed;
}

at::Tensor pack_channelwise(const at::Tensor& weight) {
  const int64_t outputs = weight.size(0), blocks = ceil_div(outputs, kLanes);
  at::Tensor padded = at::zeros({blocks * kLanes, weight.size(2) * weight.size(3)}, at::kInt);
  padded.slice(0, 0, outputs).copy_(weight.flatten(1));
  return padded.view({blocks, kLanes, -1}).transpose(1, 2).contiguous();
}

}  // namespace spikeconv::cpu
