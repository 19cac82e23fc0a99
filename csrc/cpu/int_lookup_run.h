// Runs a layer whose sums are looked up over some groups of positions of an image.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/int_lookup_layer.h"
#include "cpu/int_words.h"

namespace spikeconv::cpu {

// One layer's run, with its planes in place: those of the windows, then of the jumps, and its own.
class LookupRun {
 public:
  LookupRun(const IntLookupKernels& kernels, const IntLayer& layer, const IntLookupLayer& lookup,
            const std::vector<IntWordPlane>& read, const IntWordPlane& out, int64_t steps);

  // Groups of one block after those of another.
  int64_t units() const { return layer_.blocks * lookup_.groups; }
  void run(int64_t first, int64_t last) const;

 private:
  void run_block(int64_t block, int64_t first, int64_t last) const;
  IntLookupTerm term_of(size_t window, int byte, int64_t block, int64_t group) const;
  IntLookupShortcut shortcut_of(size_t jump, int64_t block, int64_t position) const;

  const IntLookupKernels& kernels_;
  const IntLayer& layer_;
  const IntLookupLayer& lookup_;
  const std::vector<IntWordPlane> read_;
  const IntWordPlane out_;
  const int64_t steps_;
  std::vector<std::vector<IntLookupTap>> taps_;  // by window
};

}  // namespace spikeconv::cpu
