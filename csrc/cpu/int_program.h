// The integer program on the CPU: sources, layers and pools with everything that calls share.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/custom_class.h>

#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "cpu/int_arena.h"
#include "cpu/int_chain.h"

namespace spikeconv::cpu {

// torch.classes.spikeconv._IntegerProgram. Sources, layers and pools are known by number. Planes
// are dense uint8 tensors that `new_plane` makes; every method checks what it is given, so that no
// argument reaches memory outside of them.
class IntegerProgram : public torch::CustomClassHolder {
 public:
  // With the kernels of an instruction set, or of the one that runs by default ("").
  // Sums are made by what takes least time ("auto"), or by "products", and where a layer can from
  // "events" or by "lookups"; the bits are the same for planes that `pack` or a layer wrote.
  IntegerProgram(std::string isa, const std::string& sums);

  std::string isa() const { return isa_; }
  // A bare loop of this instruction set's multiplications; returns how many products it made.
  int64_t bare(int64_t rounds) const;

  // A static source is the same at every step, and only a shortcut reads it.
  int64_t add_source(std::vector<int64_t> shape, int64_t largest, bool is_signed,
                     std::vector<int64_t> halo, bool is_static);
  int64_t add_layer(std::vector<int64_t> shape, int64_t out, int64_t shift, at::Tensor theta,
                    at::Tensor v_init, at::Tensor bias, bool is_signed,
                    std::vector<at::Tensor> weights, std::vector<int64_t> windows,
                    std::vector<at::Tensor> coefficients, std::vector<int64_t> places);
  int64_t add_pool(int64_t source, int64_t out, std::vector<int64_t> window);
  // Neurons in floating point under a static current: theta, v_init and bias are float32
  // [rows, C, H, W] or broadcast to it; of the bias, step t takes row min(t, rows - 1).
  int64_t add_encoder(int64_t out, at::Tensor theta, at::Tensor v_init,
                      std::optional<at::Tensor> bias);

  // Steps that run together: kinds (0 a layer, 1 a pool, 2 an encoder) and numbers, the sources
  // whose planes are wanted, and the steps (by position) whose counts are.
  int64_t add_chain(std::vector<int64_t> kinds, std::vector<int64_t> numbers,
                    std::vector<int64_t> wanted, std::vector<int64_t> counted);
  // Whether a layer's sums are looked up, where a run begins and ends without states.
  bool looks_up(int64_t layer) const;
  // The sources whose planes a chain is given, in the order in which it wants them.
  std::vector<int64_t> given(int64_t chain);
  // Bytes that each thread needs for what passes between a chain's steps.
  int64_t memory(int64_t chain, int64_t steps);

  // A plane with its borders set, and no spikes.
  at::Tensor new_plane(int64_t source, int64_t images, int64_t steps) const;

  // Writes a train [T, B, C, H, W] (float32, uint8 or int8) into a plane; of a static source T
  // is 1.
  void pack(int64_t source, const at::Tensor& train, const at::Tensor& plane) const;
  // The train, int8 [T, B, C, H, W], of a plane.
  at::Tensor unpack(int64_t source, const at::Tensor& plane, int64_t images, int64_t steps) const;

  // Runs a chain on planes (those given, then those wanted), and static currents of its encoders,
  // float32 [B, C, H, W]. States are those after `done` steps, or none: v of every layer and
  // encoder in the order of steps, and net counts of those that are signed; int32 [B, H, W, K], v
  // of encoders float32. Returns counts, v and net counts, the last two where they are wanted.
  std::tuple<std::vector<at::Tensor>, std::vector<at::Tensor>, std::vector<at::Tensor>> run_chain(
      int64_t chain, std::vector<at::Tensor> planes, std::vector<at::Tensor> currents,
      int64_t images, int64_t steps, int64_t done, std::vector<at::Tensor> v,
      std::vector<at::Tensor> net, bool want_state);

 private:
  const IntSource& source(const char* method, int64_t index) const;
  const IntChain& chain(const char* method, int64_t index);

  std::string isa_;
  IntParts parts_;
  std::mutex mutex_;  // of chains_, which grow while others run
  std::deque<IntChain> chains_;
  IntArenas arenas_;
};

}  // namespace spikeconv::cpu
