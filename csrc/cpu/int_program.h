// The integer program on the CPU: sources, layers and pools with everything that calls share.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/custom_class.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "cpu/int_layer.h"
#include "cpu/int_pool.h"
#include "cpu/int_tile.h"

namespace spikeconv::cpu {

// torch.classes.spikeconv._IntegerProgram. Sources, layers and pools are known by number. Planes
// are dense uint8 tensors that `new_plane` makes; every method checks what it is given, so that no
// argument reaches memory outside of them.
class IntegerProgram : public torch::CustomClassHolder {
 public:
  // With the kernels of an instruction set, or of the one that runs by default ("").
  explicit IntegerProgram(std::string isa);

  std::string isa() const { return isa_; }

  int64_t add_source(std::vector<int64_t> shape, int64_t largest, bool is_signed,
                     std::vector<int64_t> halo);
  int64_t add_layer(std::vector<int64_t> shape, int64_t out, int64_t shift, at::Tensor theta,
                    at::Tensor v_init, at::Tensor bias, bool is_signed,
                    std::vector<at::Tensor> weights, std::vector<int64_t> windows,
                    std::vector<at::Tensor> coefficients, std::vector<int64_t> places);
  int64_t add_pool(int64_t source, int64_t out, std::vector<int64_t> window);

  // A plane with its borders set, and no spikes.
  at::Tensor new_plane(int64_t source, int64_t images, int64_t steps) const;

  // Writes a train [T, B, C, H, W] (float32, uint8 or int8) into a plane.
  void pack(int64_t source, const at::Tensor& train, const at::Tensor& plane) const;
  // The train, int8 [T, B, C, H, W], of a plane.
  at::Tensor unpack(int64_t source, const at::Tensor& plane, int64_t images, int64_t steps) const;

  void run_pool(int64_t pool, const at::Tensor& plane, const at::Tensor& out, int64_t images,
                int64_t steps) const;

  // Planes of the convolutions' sources, then of the shortcuts'. v and net are int32 [B, H, W, K],
  // as are the results: count, v and net.
  std::tuple<std::optional<at::Tensor>, std::optional<at::Tensor>, std::optional<at::Tensor>>
  run_layer(int64_t layer, std::vector<at::Tensor> planes, const std::optional<at::Tensor>& out,
            int64_t images, int64_t steps, int64_t done, const std::optional<at::Tensor>& v,
            const std::optional<at::Tensor>& net, bool want_count, bool want_state) const;

 private:
  const IntSource& source(const char* method, int64_t index) const;
  void check_plane(const char* method, const IntSource& source, const at::Tensor& plane,
                   int64_t images, int64_t steps) const;

  std::string isa_;
  IntKernels kernels_;
  std::vector<IntSource> sources_;
  std::vector<IntLayer> layers_;
  std::vector<IntPool> pools_;
};

}  // namespace spikeconv::cpu
