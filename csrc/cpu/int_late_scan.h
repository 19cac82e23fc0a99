// Neurons that wait for the next tile's products, where the two run side by side.
#pragma once

#include <c10/util/SmallVector.h>

#include "cpu/int_tile.h"

namespace spikeconv::cpu {

// Tiles take turns in two halves of the memory for sums: of one the sums are made while the other's
// become spikes.
class LateScan {
 public:
  // `acc` holds kTileValues, with blocks enough for two tiles whose sums are products.
  LateScan(const IntKernels& kernels, int32_t* acc) : kernels_(kernels), acc_(acc) {}

  // Makes a tile's sums, and runs the neurons that wait.
  void dot(IntDot& dot) {
    static_assert(kBlocks >= 2 * kPair);
    dot.out = acc_ + (second_ ? kTileValues / 2 : 0);
    second_ = !second_;
    if (waits_) {
      kernels_.dot_and_scan(dot, scan_);
      waits_ = false;
    } else {
      kernels_.dot(dot);
    }
  }

  // Has a tile's neurons wait. What they point to must stay, but for the list of shortcuts.
  void scan(const IntScan& scan) {
    scan_ = scan;
    shortcuts_.assign(scan.shortcuts, scan.shortcuts + scan.n_shortcuts);
    scan_.shortcuts = shortcuts_.data();
    waits_ = true;
  }

  // Runs the last ones.
  void finish() {
    if (waits_) {
      kernels_.scan(scan_);
      waits_ = false;
    }
  }

 private:
  const IntKernels& kernels_;
  int32_t* acc_;
  bool second_ = false, waits_ = false;
  IntScan scan_{};
  c10::SmallVector<IntShortcut, 2> shortcuts_;
};

}  // namespace spikeconv::cpu
