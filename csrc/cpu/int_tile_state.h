// Membranes and net counts of a tile's neurons, before its steps, between chunks and after them.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/int_places.h"
#include "cpu/int_run.h"

namespace spikeconv::cpu {

// The output pixels of a tile. Those that are missing repeat the last one.
struct Quad {
  int count = 0;
  int64_t y[kPixels], x[kPixels];
  bool in_row = false;  // neighbours, as most are, of which the first says where the others are

  template <class Value>
  void point(const Places<Value>& places, int64_t offset, Value** to) const {
    if (in_row) {
      Value* at = places.at(y[0], x[0]) + offset;
      for (int p = 0; p < kPixels; ++p, at += places.column) {
        to[p] = at;
      }
      return;
    }
    for (int p = 0; p < kPixels; ++p) {
      to[p] = places.at(y[p], x[p]) + offset;
    }
  }
};

// Of the tiles of some channel blocks of an image. A run's tables have no room for whole vectors,
// so what lies there is copied.
class TileState {
 public:
  TileState(const IntRun& run, int64_t image, int64_t block)
      : run_(run),
        image_(image),
        block_(block),
        v_init_(places(run.layer, run.layer.v_init, block)) {}

  // Whether a run begins and ends as nobody sees.
  static bool is_hidden(const IntRun& run) {
    return run.v_before == nullptr && run.net_before == nullptr && run.v == nullptr &&
           run.net == nullptr && run.count == nullptr;
  }

  // Before the first step.
  void start(const Quad& quad, IntScan& scan) {
    if (run_.v_before == nullptr) {
      quad.point(v_init_, 0, scan.v_before);
      scan.net_before = nullptr;
      return;
    }
    load(quad, scan, run_.v_before, v_);
    go_on(scan);
    if (run_.net_before != nullptr) {
      load(quad, scan, run_.net_before, net_);
      std::memcpy(net_before_, net_, sizeof net_);
    } else {
      scan.net_before = nullptr;
    }
  }

  // Before a chunk: whether another one follows, which reads what it leaves.
  void keep(bool keeps, IntScan& scan) {
    const bool counts = run_.net != nullptr || run_.count != nullptr;
    scan.v = keeps || run_.v != nullptr ? v_ : nullptr;
    scan.net = counts || (keeps && scan.is_signed) ? net_ : nullptr;
  }

  // After a chunk, for the next one.
  void go_on(IntScan& scan) {
    for (int p = 0; p < kPixels; ++p) {
      scan.v_before[p] = v_ + p * scan.blocks * kLanes;
    }
    scan.net_before = net_;
  }

  // After the last step.
  void finish(const Quad& quad, const IntScan& scan) {
    if (run_.v != nullptr) {
      store(quad, scan, v_, run_.v);
    }
    if (run_.net != nullptr) {
      store(quad, scan, net_, run_.net);
    }
    if (run_.count != nullptr) {
      if (run_.net_before != nullptr) {
        for (int i = 0; i < kPixels * scan.blocks * kLanes; ++i) {
          net_[i] -= net_before_[i];
        }
      }
      store(quad, scan, net_, run_.count);
    }
  }

 private:
  int64_t entry(const Quad& quad, int p) const {
    const IntLayer& layer = run_.layer;
    const int64_t pixel = (image_ * layer.height + quad.y[p]) * layer.width + quad.x[p];
    return pixel * layer.channels + block_ * kLanes;
  }

  void load(const Quad& quad, const IntScan& scan, const int32_t* table, int32_t* rows) const {
    for (int p = 0; p < kPixels; ++p) {
      std::memcpy(rows + p * scan.blocks * kLanes, table + entry(quad, p),
                  scan.channels * sizeof(int32_t));
    }
  }

  void store(const Quad& quad, const IntScan& scan, const int32_t* rows, int32_t* table) const {
    for (int p = 0; p < quad.count; ++p) {
      std::memcpy(table + entry(quad, p), rows + p * scan.blocks * kLanes,
                  scan.channels * sizeof(int32_t));
    }
  }

  const IntRun& run_;
  const int64_t image_, block_;
  const Places<const int32_t> v_init_;
  // Channels beyond the last one are computed too, from whatever is there.
  alignas(64) int32_t v_[kPixels * kBlocks * kLanes] = {};
  alignas(64) int32_t net_[kPixels * kBlocks * kLanes] = {};
  alignas(64) int32_t net_before_[kPixels * kBlocks * kLanes] = {};
};

}  // namespace spikeconv::cpu
