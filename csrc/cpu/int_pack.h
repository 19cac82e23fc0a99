// The order in which kernels read the weights of a convolution.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <vector>

#include "cpu/int_layer.h"

namespace spikeconv::cpu {

constexpr int64_t kQuad = 4;  // bytes that are multiplied at once

// That a weight of this type has at most, 3 of int32; 0 where it is none of weights.
int weight_bytes(at::ScalarType type);

// Weights as the sum of int8 values bytes[i] times 256^i, in any type. Errors begin with the name.
std::vector<at::Tensor> split_bytes(const char* name, const at::Tensor& weight);

// The channels of the source that a block of output channels reads: from first on, `count` each.
struct Channels {
  std::vector<int64_t> first;
  int64_t count;
};

Channels channels_of(int64_t outputs, int64_t groups, int64_t per_group_in);

// Copies weight [K, C / groups, kh, kw] to [blocks][n_runs][quads][16][4].
at::Tensor pack_quads(const at::Tensor& weight, const IntConvolution& to, const Channels& channels);

// Copies it to [blocks / 4][places, then one of zeros][4][16], where each block reads all channels.
at::Tensor pack_rows(const at::Tensor& weight, const IntConvolution& to, const Channels& channels);

// The tables of int8 weight [K, C, kh, kw]: bytes [blocks][kh * kw][C / 16][16][table_bytes].
at::Tensor pack_tables(const at::Tensor& weight, const IntLookupKernels& kernels);

// Copies weight [K, 1, kh, kw] to int32 [blocks][kh * kw][16].
at::Tensor pack_channelwise(const at::Tensor& weight);

}  // namespace spikeconv::cpu
