#include "cpu/int_tiles.h"

#include <c10/util/SmallVector.h>

#include <algorithm>
#include <optional>

#include "cpu/int_late_scan.h"
#include "cpu/int_places.h"
#include "cpu/int_tile_state.h"

namespace spikeconv::cpu {
namespace {

// Blocks that a tile has at most.
int64_t most_blocks(const IntRun& run, const EventLists* events) {
  return events != nullptr ? kBlocks : run.layer.in_pairs ? kPair : 1;
}

// Some blocks of an image's channels, up to most_blocks(), for some of its pixels.
class Tile {
 public:
  Tile(const IntRun& run, int64_t image, IntRange quads, int64_t block, int blocks,
       const EventLists* events)
      : run_(run),
        layer_(run.layer),
        image_(image),
        quads_(quads),
        block_(block),
        state_(run, image, block) {
    if (events != nullptr) {
      events_.emplace(*events, block, blocks, acc_);
    }
    add_terms();
    dot_.terms = terms_.data();
    dot_.channelwise = terms_.data() + dot_.n_terms;
    dot_.blocks = scan_.blocks = blocks;
    dot_.out = acc_;
    scan_.acc = acc_;
    scan_.shift = layer_.shift;
    scan_.is_narrow = layer_.is_narrow;
    scan_.theta = layer_.theta.const_data_ptr<int32_t>() + block * kLanes;
    scan_.bias_step = layer_.bias.stride(0);
    scan_.is_signed = layer_.is_signed;
    scan_.channels =
        static_cast<int>(std::min<int64_t>(blocks * kLanes, layer_.channels - block * kLanes));
    bias_ = places(layer_, layer_.bias, block);
    add_shortcuts();
    scan_.shortcuts = shortcuts_.data();
    scan_.n_shortcuts = static_cast<int>(shortcuts_.size());
    if (run.emits) {
      out_ = places(run.out, run.sources[layer_.out], image, 1, 1, 0, 0);
      out_.origin += block * kLanes;
      scan_.out_step = run.out.step;
    }
    const bool multiplies = events == nullptr && dot_.n_terms > 0;
    if (multiplies && run.kernels.dot_and_scan != nullptr && TileState::is_hidden(run)) {
      late_.emplace(run.kernels, acc_);
    }
  }

  // Of all its quads.
  void run() {
    int64_t y = quads_.first * kPixels / layer_.width, x = quads_.first * kPixels % layer_.width;
    int64_t left = layer_.pixels() - quads_.first * kPixels;
    for (int64_t quad = quads_.first; quad < quads_.last; ++quad) {
      at_.count = static_cast<int>(std::min<int64_t>(kPixels, left));
      left -= at_.count;
      for (int p = 0; p < kPixels; ++p) {
        at_.y[p] = y;
        at_.x[p] = x;
        if (p + 1 < at_.count) {
          next(y, x);
        }
      }
      next(y, x);
      at_.in_row = at_.count == kPixels && at_.y[0] == at_.y[kPixels - 1];
      run_quad();
    }
    if (late_.has_value()) {
      late_->finish();
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
    term.wide = convolution.wide;
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

  // All terms of the weights' highest bytes, then of lower ones, then channelwise convolutions.
  void add_terms() {
    for (int byte = kMostBytes - 1; byte >= 0; --byte) {
      const size_t first = terms_.size();
      each_convolution([&](const IntConvolution& convolution, const int64_t* runs) {
        if (!convolution.channelwise && byte < convolution.passes()) {
          add_term(convolution, convolution.bytes[byte], runs);
        }
      });
      if (first > 0) {
        terms_[first].up = true;  // what has this byte's next one has this one
      }
    }
    dot_.n_terms = static_cast<int>(terms_.size());
    each_convolution([this](const IntConvolution& convolution, const int64_t* runs) {
      if (convolution.channelwise) {
        add_term(convolution, convolution.bytes[0], runs);
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
      shortcut.coefficient = term.factors.const_data_ptr<int32_t>() + first;
      Places<const uint8_t>& at = jumps_.emplace_back(
          places(plane, run_.sources[term.source], image_, term.stride_y, term.stride_x, 0, 0));
      at.origin += first - term.channel;
    }
  }

  void run_quad() {
    state_.start(at_, scan_);
    const int64_t chunks = run_.chunks();
    for (int64_t i = 0; i < chunks; ++i) {
      const int64_t first = run_.first_step(i);
      scan_.steps = dot_.steps = static_cast<int>(run_.first_step(i + 1) - first);
      state_.keep(i + 1 < chunks, scan_);
      run_steps(first);
      state_.go_on(scan_);
    }
    state_.finish(at_, scan_);
  }

  void run_steps(int64_t first) {
    for (size_t i = 0; i < terms_.size(); ++i) {
      at_.point(windows_[i], first * terms_[i].step, terms_[i].spikes);
    }
    if (events_.has_value()) {
      events_->run(at_.y, at_.x, first, dot_.steps);
    } else if (late_.has_value()) {
      late_->dot(dot_);
      scan_.acc = dot_.out;
    } else if (dot_.n_terms > 0 || dot_.n_channelwise == 0) {
      run_.kernels.dot(dot_);
    }
    if (dot_.n_channelwise > 0) {
      run_.kernels.dot_channelwise(dot_);
    }
    for (size_t i = 0; i < shortcuts_.size(); ++i) {
      at_.point(jumps_[i], first * shortcuts_[i].step, shortcuts_[i].spikes);
    }
    const int64_t last_row = layer_.bias.size(0) - 1;
    const int64_t row = std::min(run_.done + first, last_row);
    at_.point(bias_, row * scan_.bias_step, scan_.bias);
    scan_.last_bias = static_cast<int>(std::min<int64_t>(last_row - row, kTileSteps));
    if (run_.emits) {
      at_.point(out_, first * scan_.out_step, scan_.out);
    }
    if (late_.has_value()) {
      late_->scan(scan_);
    } else {
      run_.kernels.scan(scan_);
    }
  }

  const IntRun& run_;
  const IntLayer& layer_;
  const int64_t image_;
  const IntRange quads_;
  const int64_t block_;
  Quad at_{};
  IntDot dot_{};
  IntScan scan_{};
  std::optional<EventSums> events_;
  c10::SmallVector<IntTerm, 4> terms_;
  c10::SmallVector<Places<const uint8_t>, 4> windows_;
  c10::SmallVector<IntShortcut, 2> shortcuts_;
  c10::SmallVector<Places<const uint8_t>, 2> jumps_;
  Places<const int32_t> bias_;
  Places<uint8_t> out_;
  TileState state_;
  std::optional<LateScan> late_;
  alignas(64) int32_t acc_[kTileValues];
};

}  // namespace

void run_tiles(const IntRun& run, int64_t image, IntRange quads, IntRange blocks,
               const EventLists* events) {
  const int64_t most = most_blocks(run, events);
  for (int64_t block = blocks.first; block < blocks.last; block += most) {
    const int count = static_cast<int>(std::min(most, blocks.last - block));
    Tile(run, image, quads, block, count, events).run();
  }
}

}  // namespace spikeconv::cpu
