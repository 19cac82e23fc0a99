#include "cpu/int_run.h"

#include <c10/util/SmallVector.h>

#include <algorithm>
#include <cstring>

namespace spikeconv::cpu {
namespace {

// The outputs of a tile: four pixels, the last ones repeated where there are fewer.
struct Quad {
  int64_t pixel[kPixels];
  int64_t y[kPixels], x[kPixels];
  int count;
};

Quad quad_at(const IntLayer& layer, int64_t index) {
  Quad quad{};
  const int64_t first = index * kPixels;
  quad.count = static_cast<int>(std::min<int64_t>(kPixels, layer.pixels() - first));
  int64_t pixel = first, y = first / layer.width, x = first % layer.width;
  for (int p = 0; p < kPixels; ++p) {
    quad.pixel[p] = pixel;
    quad.y[p] = y;
    quad.x[p] = x;
    if (p + 1 < quad.count) {
      ++pixel;
      if (++x == layer.width) {
        x = 0;
        ++y;
      }
    }
  }
  return quad;
}

// The same place of a table that holds [pixels or 1][channels].
int64_t entry(const at::Tensor& table, int64_t pixel) {
  return table.size(1) == 1 ? 0 : pixel * table.size(2);
}

class Tile {
 public:
  Tile(const IntRun& run, int64_t image, int block, int blocks)
      : run_(run), layer_(run.layer), image_(image), block_(block), blocks_(blocks) {
    channels_ = static_cast<int>(
        std::min<int64_t>(blocks * kLanes, layer_.channels - int64_t{block} * kLanes));
    add_terms();
    add_shortcuts();
    dot_.blocks = blocks;
    dot_.out = acc_;
    scan_.acc = acc_;
    scan_.blocks = blocks;
    scan_.shift = layer_.shift;
    scan_.theta = layer_.theta.const_data_ptr<int32_t>() + block * kLanes;
    scan_.bias_step = layer_.bias.stride(0);
    scan_.v = v_;
    scan_.net = net_;
    scan_.is_signed = layer_.is_signed;
    scan_.emits = run.emits;
    scan_.out_step = run.out.step;
    scan_.channels = channels_;
  }

  void run(const Quad& quad) {
    quad_ = quad;
    load_state();
    const int64_t chunks = (run_.steps + kTileSteps - 1) / kTileSteps;
    for (int64_t i = 0; i < chunks; ++i) {
      const int64_t first = run_.steps * i / chunks;
      const int64_t last = run_.steps * (i + 1) / chunks;
      run_steps(first, static_cast<int>(last - first));
    }
    store_state();
  }

 private:
  void add_term(const IntConvolution& convolution, const at::Tensor& weights, const int64_t* runs) {
    IntTerm& term = terms_.emplace_back();
    term.step = run_.planes[convolution.window.source].step;
    term.runs = runs;
    term.n_runs = convolution.n_runs;
    term.quads = convolution.quads;
    term.block_bytes = convolution.block_bytes();
    term.weights = weights.const_data_ptr<int8_t>() + block_ * term.block_bytes;
    convolutions_.push_back(&convolution);
  }

  void add_terms() {
    for (const bool high : {true, false}) {
      const int64_t* runs = run_.runs.data();
      for (const IntConvolution& convolution : layer_.convolutions) {
        if (!high || convolution.high.defined()) {
          add_term(convolution, high ? convolution.high : convolution.low, runs);
        }
        runs += convolution.n_runs;
      }
      if (high) {
        dot_.n_high = static_cast<int>(terms_.size());
      }
    }
    dot_.n_terms = static_cast<int>(terms_.size());
    dot_.terms = terms_.data();
  }

  void add_shortcuts() {
    for (const IntShortcutTerm& term : layer_.shortcuts) {
      const int64_t first = block_ * kLanes;
      if (first >= term.channel + term.channels || first + blocks_ * kLanes <= term.channel) {
        continue;  // its bytes would be those of another pixel, or outside of the plane
      }
      IntShortcut& shortcut = shortcuts_.emplace_back();
      shortcut.step = run_.planes[term.source].step;
      shortcut.coefficient = term.coefficient.const_data_ptr<int32_t>() + first;
      shortcut_terms_.push_back(&term);
    }
    scan_.shortcuts = shortcuts_.data();
    scan_.n_shortcuts = static_cast<int>(shortcuts_.size());
  }

  // The first `channels_` of each row are the table's, and the others of no account.
  void load_rows(const int32_t* table, int32_t* rows) {
    for (int p = 0; p < kPixels; ++p) {
      const int64_t at = (image_ * layer_.pixels() + quad_.pixel[p]) * layer_.channels;
      std::memcpy(rows + p * blocks_ * kLanes, table + at + block_ * kLanes,
                  channels_ * sizeof(int32_t));
    }
  }

  void store_rows(const int32_t* rows, int32_t* table) {
    for (int p = 0; p < quad_.count; ++p) {
      const int64_t at = (image_ * layer_.pixels() + quad_.pixel[p]) * layer_.channels;
      std::memcpy(table + at + block_ * kLanes, rows + p * blocks_ * kLanes,
                  channels_ * sizeof(int32_t));
    }
  }

  void load_state() {
    const size_t bytes = blocks_ * kLanes * sizeof(int32_t);
    if (run_.v_before != nullptr) {
      load_rows(run_.v_before, v_);
    } else {
      const int32_t* v_init = layer_.v_init.const_data_ptr<int32_t>() + block_ * kLanes;
      for (int p = 0; p < kPixels; ++p) {
        std::memcpy(v_ + p * blocks_ * kLanes, v_init + entry(layer_.v_init, quad_.pixel[p]),
                    bytes);
      }
    }
    if (run_.net_before != nullptr) {
      load_rows(run_.net_before, net_);
      std::memcpy(net_before_, net_, kPixels * bytes);
    } else {
      std::memset(net_, 0, kPixels * bytes);
    }
  }

  void store_state() {
    if (run_.v != nullptr) {
      store_rows(v_, run_.v);
    }
    if (run_.net != nullptr) {
      store_rows(net_, run_.net);
    }
    if (run_.count != nullptr) {
      if (run_.net_before != nullptr) {
        for (int i = 0; i < kPixels * blocks_ * kLanes; ++i) {
          net_[i] -= net_before_[i];
        }
      }
      store_rows(net_, run_.count);
    }
  }

  void run_steps(int64_t first, int steps) {
    for (int i = 0; i < dot_.n_terms; ++i) {
      const IntConvolution& convolution = *convolutions_[i];
      const IntWindow& window = convolution.window;
      const IntSource& source = run_.sources[window.source];
      const IntPlane<const uint8_t>& plane = run_.planes[window.source];
      for (int p = 0; p < kPixels; ++p) {
        terms_[i].spikes[p] = plane.at(source, image_, quad_.y[p] * window.stride_y - window.above,
                                       quad_.x[p] * window.stride_x - window.left) +
                              first * plane.step + convolution.first_channel[block_];
      }
    }
    dot_.steps = steps;
    run_.kernels.dot(dot_);

    for (int i = 0; i < scan_.n_shortcuts; ++i) {
      const IntShortcutTerm& term = *shortcut_terms_[i];
      const IntSource& source = run_.sources[term.source];
      const IntPlane<const uint8_t>& plane = run_.planes[term.source];
      for (int p = 0; p < kPixels; ++p) {
        shortcuts_[i].spikes[p] =
            plane.at(source, image_, quad_.y[p] * term.stride_y, quad_.x[p] * term.stride_x) +
            first * plane.step + block_ * kLanes - term.channel;
      }
    }
    const int64_t last_row = layer_.bias.size(0) - 1;
    const int64_t row = std::min(run_.done + first, last_row);
    const int32_t* bias =
        layer_.bias.const_data_ptr<int32_t>() + row * scan_.bias_step + block_ * kLanes;
    scan_.last_bias = static_cast<int>(std::min<int64_t>(last_row - row, kTileSteps));
    for (int p = 0; p < kPixels; ++p) {
      scan_.bias[p] = bias + entry(layer_.bias, quad_.pixel[p]);
      if (run_.emits) {
        scan_.out[p] = run_.out.at(run_.sources[layer_.out], image_, quad_.y[p], quad_.x[p]) +
                       first * run_.out.step + block_ * kLanes;
      }
    }
    scan_.steps = steps;
    run_.kernels.scan(scan_);
  }

  const IntRun& run_;
  const IntLayer& layer_;
  const int64_t image_;
  const int block_, blocks_;
  int channels_;
  Quad quad_{};
  IntDot dot_{};
  IntScan scan_{};
  c10::SmallVector<IntTerm, 4> terms_;
  c10::SmallVector<const IntConvolution*, 4> convolutions_;
  c10::SmallVector<IntShortcut, 2> shortcuts_;
  c10::SmallVector<const IntShortcutTerm*, 2> shortcut_terms_;
  alignas(64) int32_t v_[kPixels * kBlocks * kLanes];
  alignas(64) int32_t net_[kPixels * kBlocks * kLanes];
  alignas(64) int32_t net_before_[kPixels * kBlocks * kLanes];
  alignas(64) int32_t acc_[kTileValues];
};

}  // namespace

void IntRun::prepare() {
  for (const IntConvolution& convolution : layer.convolutions) {
    const IntPlane<const uint8_t>& plane = planes[convolution.window.source];
    const size_t at = runs.size();
    runs.resize(at + convolution.n_runs);
    convolution.runs(convolution.window.dilation_y * plane.row,
                     convolution.window.dilation_x * plane.pixel, runs.data() + at);
  }
}

void run_layer(const IntRun& run, int64_t image, int64_t first_quad, int64_t last_quad,
               int64_t first_block, int64_t last_block) {
  const auto& convolutions = run.layer.convolutions;
  const bool in_pairs = std::all_of(convolutions.begin(), convolutions.end(),
                                    [](const auto& each) { return each.same_channels; });
  for (int64_t block = first_block; block < last_block;) {
    const int blocks = in_pairs && block + kBlocks <= last_block ? kBlocks : 1;
    Tile tile(run, image, static_cast<int>(block), blocks);
    for (int64_t quad = first_quad; quad < last_quad; ++quad) {
      tile.run(quad_at(run.layer, quad));
    }
    block += blocks;
  }
}

}  // namespace spikeconv::cpu
