#include "cpu/int_tiles.h"

#include <c10/util/SmallVector.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "cpu/int_places.h"

namespace spikeconv::cpu {
namespace {

// Blocks that a tile has at most.
int64_t most_blocks(const IntRun& run, const IntSums& sums) {
  if (std::holds_alternative<const EventLists*>(sums)) {
    return kBlocks;
  }
  return std::holds_alternative<std::monostate>(sums) && run.layer.in_pairs ? kPair : 1;
}

// Some blocks of an image's channels, up to most_blocks(), for some of its pixels.
class Tile {
 public:
  Tile(const IntRun& run, int64_t image, IntRange quads, int64_t block, int blocks,
       const IntSums& sums)
      : run_(run), layer_(run.layer), image_(image), quads_(quads), block_(block) {
    if (const auto* lists = std::get_if<const EventLists*>(&sums)) {
      events_.emplace(**lists, block, blocks, acc_);
    } else if (const auto* words = std::get_if<const LookupWords*>(&sums)) {
      lookups_.emplace(**words, block, quads.last, acc_);
    }
    add_terms();
    dot_.terms = terms_.data();
    dot_.channelwise = terms_.data() + dot_.n_terms;
    dot_.blocks = scan_.blocks = blocks;
    dot_.out = acc_;
    scan_.acc = acc_;
    scan_.shift = layer_.shift;
    scan_.theta = layer_.theta.const_data_ptr<int32_t>() + block * kLanes;
    scan_.bias_step = layer_.bias.stride(0);
    scan_.is_signed = layer_.is_signed;
    scan_.channels =
        static_cast<int>(std::min<int64_t>(blocks * kLanes, layer_.channels - block * kLanes));
    bias_ = places(layer_, layer_.bias, block);
    v_init_ = places(layer_, layer_.v_init, block);
    add_shortcuts();
    scan_.shortcuts = shortcuts_.data();
    scan_.n_shortcuts = static_cast<int>(shortcuts_.size());
    if (run.emits) {
      out_ = places(run.out, run.sources[layer_.out], image, 1, 1, 0, 0);
      out_.origin += block * kLanes;
      scan_.out_step = run.out.step;
    }
  }

  // Of all its quads.
  void run() {
    int64_t y = quads_.first * kPixels / layer_.width, x = quads_.first * kPixels % layer_.width;
    int64_t left = layer_.pixels() - quads_.first * kPixels;
    for (quad_ = quads_.first; quad_ < quads_.last; ++quad_) {
      count_ = static_cast<int>(std::min<int64_t>(kPixels, left));
      left -= count_;
      for (int p = 0; p < kPixels; ++p) {
        y_[p] = y;
        x_[p] = x;
        if (p + 1 < count_) {  // pixels that are missing repeat the last one
          next(y, x);
        }
      }
      next(y, x);
      run_quad();
    }
  }

 private:
  void next(int64_t& y, int64_t& x) const {
    if (++x == layer_.width) {
      x = 0;
      ++y;
    }
  }

  void add_term(const IntConvolution& convolution, const at::Tensor& weights, const int64_t* runs) {
    const IntWindow& window = convolution.window;
    const IntPlane<const uint8_t> plane = run_.planes[window.source].for_reading();
    IntTerm& term = terms_.emplace_back();
    term.step = plane.step;
    term.runs = runs;
    term.n_runs = convolution.n_runs;
    term.quads = convolution.quads;
    term.tap = convolution.tap();
    term.narrow = convolution.narrow;
    term.block_bytes = convolution.block_bytes();
    term.weights = static_cast<const int8_t*>(weights.const_data_ptr()) + block_ * term.block_bytes;
    Places<const uint8_t>& at =
        windows_.emplace_back(places(plane, run_.sources[window.source], image_, window.stride_y,
                                     window.stride_x, window.above, window.left));
    at.origin += convolution.first_channel[block_];
  }

  // Calls term(convolution, its runs) for all.
  template <class Term>
  void each_convolution(const Term& term) {
    const int64_t* runs = run_.runs.data();
    for (const IntConvolution& convolution : layer_.convolutions) {
      term(convolution, runs);
      runs += convolution.n_runs;
    }
  }

  // High bytes, then low ones, then channelwise convolutions.
  void add_terms() {
    each_convolution([this](const IntConvolution& convolution, const int64_t* runs) {
      if (convolution.high.defined()) {
        add_term(convolution, convolution.high, runs);
      }
    });
    dot_.n_high = static_cast<int>(terms_.size());
    each_convolution([this](const IntConvolution& convolution, const int64_t* runs) {
      if (!convolution.channelwise) {
        add_term(convolution, convolution.low, runs);
      }
    });
    dot_.n_terms = static_cast<int>(terms_.size());
    each_convolution([this](const IntConvolution& convolution, const int64_t* runs) {
      if (convolution.channelwise) {
        add_term(convolution, convolution.low, runs);
      }
    });
    dot_.n_channelwise = static_cast<int>(terms_.size()) - dot_.n_terms;
  }

  void add_shortcuts() {
    const int64_t first = block_ * kLanes, last = first + scan_.channels;
    for (const IntShortcutTerm& term : layer_.shortcuts) {
      if (first >= term.channel + term.channels || last <= term.channel) {
        continue;  // what it would read are other pixels, or lies outside of the plane
      }
      const IntPlane<const uint8_t> plane = run_.planes[term.source].for_reading();
      IntShortcut& shortcut = shortcuts_.emplace_back();
      shortcut.step = plane.step;
      shortcut.coefficient = term.coefficient.const_data_ptr<int32_t>() + first;
      Places<const uint8_t>& at = jumps_.emplace_back(
          places(plane, run_.sources[term.source], image_, term.stride_y, term.stride_x, 0, 0));
      at.origin += first - term.channel;
    }
  }

  void run_quad() {
    start();
    const int64_t chunks = run_.chunks();
    for (int64_t i = 0; i < chunks; ++i) {
      const int64_t first = run_.first_step(i);
      scan_.steps = dot_.steps = static_cast<int>(run_.first_step(i + 1) - first);
      const bool keeps = i + 1 < chunks;
      scan_.v = keeps || run_.v != nullptr ? v_ : nullptr;
      const bool counts = run_.net != nullptr || run_.count != nullptr;
      scan_.net = counts || (keeps && layer_.is_signed) ? net_ : nullptr;
      run_steps(i, first);
      for (int p = 0; p < kPixels; ++p) {
        scan_.v_before[p] = v_ + p * scan_.blocks * kLanes;
      }
      scan_.net_before = net_;
    }
    finish();
  }

  void run_steps(int64_t chunk, int64_t first) {
    for (size_t i = 0; i < terms_.size(); ++i) {
      point(windows_[i], first * terms_[i].step, terms_[i].spikes);
    }
    if (events_.has_value()) {
      events_->run(y_, x_, first, dot_.steps);
    } else if (lookups_.has_value()) {
      scan_.acc = dot_.out = lookups_->run(quad_, chunk);
    } else if (dot_.n_terms > 0 || dot_.n_channelwise == 0) {
      run_.kernels.dot(dot_);
    }
    if (dot_.n_channelwise > 0) {
      run_.kernels.dot_channelwise(dot_);
    }
    for (size_t i = 0; i < shortcuts_.size(); ++i) {
      point(jumps_[i], first * shortcuts_[i].step, shortcuts_[i].spikes);
    }
    const int64_t last_row = layer_.bias.size(0) - 1;
    const int64_t row = std::min(run_.done + first, last_row);
    point(bias_, row * scan_.bias_step, scan_.bias);
    scan_.last_bias = static_cast<int>(std::min<int64_t>(last_row - row, kTileSteps));
    if (run_.emits) {
      point(out_, first * scan_.out_step, scan_.out);
    }
    run_.kernels.scan(scan_);
  }

  template <class Value>
  void point(const Places<Value>& places, int64_t offset, Value** to) const {
    for (int p = 0; p < kPixels; ++p) {
      to[p] = places.at(y_[p], x_[p]) + offset;
    }
  }

  // The state before the first step. A given one lies in tables without room for whole vectors.
  void start() {
    if (run_.v_before == nullptr) {
      point(v_init_, 0, scan_.v_before);
      scan_.net_before = nullptr;
      return;
    }
    load(run_.v_before, v_);
    for (int p = 0; p < kPixels; ++p) {
      scan_.v_before[p] = v_ + p * scan_.blocks * kLanes;
    }
    if (run_.net_before != nullptr) {
      load(run_.net_before, net_);
      std::memcpy(net_before_, net_, sizeof net_);
      scan_.net_before = net_;
    } else {
      scan_.net_before = nullptr;
    }
  }

  void finish() {
    if (run_.v != nullptr) {
      store(v_, run_.v);
    }
    if (run_.net != nullptr) {
      store(net_, run_.net);
    }
    if (run_.count != nullptr) {
      if (run_.net_before != nullptr) {
        for (int i = 0; i < kPixels * scan_.blocks * kLanes; ++i) {
          net_[i] -= net_before_[i];
        }
      }
      store(net_, run_.count);
    }
  }

  int64_t entry(int p) const {
    const int64_t pixel = (image_ * layer_.height + y_[p]) * layer_.width + x_[p];
    return pixel * layer_.channels + block_ * kLanes;
  }

  void load(const int32_t* table, int32_t* rows) const {
    for (int p = 0; p < kPixels; ++p) {
      std::memcpy(rows + p * scan_.blocks * kLanes, table + entry(p),
                  scan_.channels * sizeof(int32_t));
    }
  }

  void store(const int32_t* rows, int32_t* table) const {
    for (int p = 0; p < count_; ++p) {
      std::memcpy(table + entry(p), rows + p * scan_.blocks * kLanes,
                  scan_.channels * sizeof(int32_t));
    }
  }

  const IntRun& run_;
  const IntLayer& layer_;
  const int64_t image_;
  const IntRange quads_;
  const int64_t block_;
  int64_t quad_ = 0;
  int count_ = 0;  // outputs of this quad
  int64_t y_[kPixels], x_[kPixels];
  IntDot dot_{};
  IntScan scan_{};
  std::optional<EventSums> events_;
  std::optional<LookupSums> lookups_;
  c10::SmallVector<IntTerm, 4> terms_;
  c10::SmallVector<Places<const uint8_t>, 4> windows_;
  c10::SmallVector<IntShortcut, 2> shortcuts_;
  c10::SmallVector<Places<const uint8_t>, 2> jumps_;
  Places<const int32_t> bias_, v_init_;
  Places<uint8_t> out_;
  // Channels beyond the last one are computed too, from whatever is there.
  alignas(64) int32_t v_[kPixels * kBlocks * kLanes] = {};
  alignas(64) int32_t net_[kPixels * kBlocks * kLanes] = {};
  alignas(64) int32_t net_before_[kPixels * kBlocks * kLanes] = {};
  alignas(64) int32_t acc_[kTileValues];
  static_assert(kTileValues >= LookupSums::kValues);
};

}  // namespace

void run_tiles(const IntRun& run, int64_t image, IntRange quads, IntRange blocks, IntSums sums) {
  const int64_t most = most_blocks(run, sums);
  for (int64_t block = blocks.first; block < blocks.last; block += most) {
    const int count = static_cast<int>(std::min(most, blocks.last - block));
    Tile(run, image, quads, block, count, sums).run();
  }
}

}  // namespace spikeconv::cpu
