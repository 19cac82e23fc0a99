#include "cpu/int_step_run.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <memory>

#include "cpu/int_lookup_run.h"
#include "cpu/int_run.h"
#include "cpu/int_sizes.h"

namespace spikeconv::cpu {
namespace {

// Channel blocks of a tile, which threads do not share.
int64_t blocks_together(const IntLayer& layer) { return layer.takes_events ? kBlocks : kPair; }

int64_t most_shares(const IntLayer& layer) {
  return ceil_div(layer.blocks, blocks_together(layer));
}

template <class Value>
const Value* data_of(const at::Tensor& table) {
  return table.defined() ? table.const_data_ptr<Value>() : nullptr;
}

template <class Value>
Value* results_of(const at::Tensor& table) {
  return table.defined() ? table.mutable_data_ptr<Value>() : nullptr;
}

class Preparation {
 public:
  Preparation(const IntChainCall& call, const std::vector<IntPlane<uint8_t>>& planes,
              const std::vector<IntWordPlane>& words)
      : call_(call), parts_(call.parts), planes_(planes), words_(words) {}

  IntStepRun prepare(const IntStep& step) const {
    switch (step.kind) {
      case IntStep::Kind::kLayer:
        return prepare_layer(parts_.layers[step.index], call_.tables[step.asked]);
      case IntStep::Kind::kPool:
        return prepare_pool(parts_.pools[step.index]);
      case IntStep::Kind::kEncoder:
      case IntStep::Kind::kEncode:
        return prepare_encoder(step, parts_.encoders[step.index], call_.tables[step.asked],
                               call_.currents[step.asked]);
      case IntStep::Kind::kLookUp:
        return prepare_lookup(step);
      default:
        return prepare_conversion(step);
    }
  }

 private:
  IntStepRun prepare_layer(const IntLayer& layer, const IntTables& tables) const {
    auto run = std::make_shared<IntRun>(
        IntRun{parts_.kernels, layer, parts_.sources, planes_, call_.steps, call_.done});
    run->emits = emits(layer.out);
    if (run->emits) {
      run->out = planes_[layer.out];
    }
    run->v_before = data_of<int32_t>(tables.v_before);
    run->net_before = data_of<int32_t>(tables.net_before);
    run->v = results_of<int32_t>(tables.v);
    run->net = results_of<int32_t>(tables.net);
    run->count = results_of<int32_t>(tables.count);
    run->prepare();
    int64_t products = 64 * kLanes;
    for (const IntConvolution& convolution : layer.convolutions) {
      products += convolution.block_bytes();
    }
    const int64_t quads = quads_of(layer.pixels());
    const int64_t few = int64_t{8} * at::get_num_threads();
    const int64_t shares = std::clamp<int64_t>(few / quads, 1, most_shares(layer));
    return {quads * shares, products * kPixels * call_.steps * layer.blocks / shares,
            [run, quads, shares](int64_t image, int64_t first, int64_t last) {
              run_shares(*run, quads, shares, image, first, last);
            }};
  }

  IntStepRun prepare_lookup(const IntStep& step) const {
    const IntLayer& layer = parts_.layers[step.index];
    std::vector<IntWordPlane> read;
    for (const int64_t plane : step.words_read) {
      read.push_back(words_[plane]);
    }
    auto run =
        std::make_shared<LookupRun>(parts_.kernels.lookups, layer, *parts_.lookups[step.index],
                                    read, words_[step.words_written], call_.steps);
    int64_t products = 64 * kLanes;
    for (const IntConvolution& convolution : layer.convolutions) {
      products += convolution.window_bytes() * kLanes;
    }
    return {run->units(), products * kPositions * call_.steps,
            [run](int64_t, int64_t first, int64_t last) { run->run(first, last); }};
  }

  IntStepRun prepare_pool(const IntPool& pool) const {
    const IntSource& out = parts_.sources[pool.out];
    const auto from = planes_[pool.source].for_reading();
    const IntPlane<uint8_t> to = planes_[pool.out];
    if (!emits(pool.out)) {
      return {0, 0, [](int64_t, int64_t, int64_t) {}};
    }
    const auto row = [&pool, &sources = parts_.sources, from, to, steps = call_.steps](
                         int64_t image, int64_t y) {
      run_pool_row(pool, sources, from, to, steps, image, y);
    };
    return by_rows(out, pool.kernel_y * pool.kernel_x, row);
  }

  IntStepRun prepare_encoder(const IntStep& step, const IntEncoder& encoder,
                             const IntTables& tables, const at::Tensor& x) const {
    const IntSource& out = parts_.sources[encoder.out];
    const IntEncoderRun run{&parts_.kernels,
                            &encoder,
                            &out,
                            x.const_data_ptr<float>(),
                            x.stride(0),
                            x.stride(1),
                            x.stride(2),
                            x.stride(3),
                            call_.steps,
                            call_.done,
                            planes_[encoder.out],
                            emits(encoder.out),
                            data_of<float>(tables.v_before),
                            data_of<int32_t>(tables.net_before),
                            results_of<float>(tables.v),
                            results_of<int32_t>(tables.net),
                            results_of<int32_t>(tables.count)};
    if (step.kind == IntStep::Kind::kEncode) {
      return by_rows(out, 16, [run, to = words_[step.words_written]](int64_t image, int64_t y) {
        encode_row_in_words(run, to, image, y);
      });
    }
    return by_rows(out, 64, [run](int64_t image, int64_t y) { run_encoder_row(run, image, y); });
  }

  // Of the spikes of a source, or counts of them.
  IntStepRun prepare_conversion(const IntStep& step) const {
    const IntSource& source = parts_.sources[step.index];
    const IntPlane<uint8_t>& plane = planes_[step.index];
    const IntLookupKernels& kernels = parts_.kernels.lookups;
    const int64_t steps = call_.steps;
    const auto words = [this](int64_t number) {
      return number < 0 ? IntWordPlane() : words_[number];
    };
    const IntWordPlane to = words(step.words_written);
    const IntWordPlane from = words(step.words_read.empty() ? -1 : step.words_read[0]);
    switch (step.kind) {
      case IntStep::Kind::kToWords:
        return by_rows(source, 1, [=, &source, &kernels](int64_t image, int64_t y) {
          words_from_bytes(kernels, source, plane.for_reading(), image, to, steps, {y, y + 1});
        });
      case IntStep::Kind::kArrange:
        return by_rows(source, 1, [=, &source](int64_t, int64_t y) {
          arrange_words(source, from, to, steps, {y, y + 1});
        });
      case IntStep::Kind::kToBytes:
        return by_rows(source, 1, [=, &source, &kernels](int64_t image, int64_t y) {
          bytes_from_words(kernels, source, from, plane, image, steps, {y, y + 1});
        });
      default:
        auto* counts = results_of<int32_t>(call_.tables[step.asked].count);
        return by_rows(source, 1, [=, &source](int64_t image, int64_t y) {
          const int64_t row = (image * source.height + y) * source.width * source.channels;
          count_spikes(source, plane.for_reading(), steps, image, y, counts + row);
        });
    }
  }

  // A step that makes one row of a source after another.
  template <class Row>
  IntStepRun by_rows(const IntSource& source, int64_t cost, const Row& row) const {
    return {source.height, source.width * source.channels * call_.steps * cost,
            [row](int64_t image, int64_t first, int64_t last) {
              for (int64_t y = first; y < last; ++y) {
                row(image, y);
              }
            }};
  }

  bool emits(int64_t source) const { return source >= 0 && planes_[source].data != nullptr; }

  static void run_shares(const IntRun& run, int64_t quads, int64_t shares, int64_t image,
                         int64_t first, int64_t last) {
    const int64_t blocks = run.layer.blocks;
    const int64_t most = most_shares(run.layer), together = blocks_together(run.layer);
    while (first < last) {
      const int64_t share = first / quads, quad = first % quads;
      const int64_t end = std::min(quads, quad + last - first);
      run_layer(run, image, {quad, end},
                {std::min(blocks, most * share / shares * together),
                 std::min(blocks, most * (share + 1) / shares * together)});
      first += end - quad;
    }
  }

  const IntChainCall& call_;
  const IntParts& parts_;
  const std::vector<IntPlane<uint8_t>>& planes_;
  const std::vector<IntWordPlane>& words_;
};

}  // namespace

IntStepRun make_step_run(const IntChainCall& call, const IntStep& step,
                         const std::vector<IntPlane<uint8_t>>& planes,
                         const std::vector<IntWordPlane>& words) {
  return Preparation(call, planes, words).prepare(step);
}

}  // namespace spikeconv::cpu
