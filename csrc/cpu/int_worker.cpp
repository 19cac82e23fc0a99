#include "cpu/int_worker.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "cpu/int_run.h"
#include "cpu/int_sizes.h"
#include "cpu/int_team.h"

namespace spikeconv::cpu {
namespace {

// Products of a byte and a weight, or neurons' steps times 64, that are worth a thread of their
// own.
constexpr int64_t kGrain = int64_t{1} << 20;

// Parts that each thread takes of a step, so that one that is held up leaves the rest to others.
constexpr int64_t kShares = 2;

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

// A chain with its planes in place: those of the call, and one arena for what is between.
class Worker {
 public:
  Worker(const IntChainCall& call, IntArenas& arenas)
      : call_(call), arenas_(arenas), planes_(call.planes) {
    arena_ = arenas.take(call.parts, call.chain, call.steps);
    auto* memory = static_cast<uint8_t*>(arena_.get());
    for (const IntSlot& slot : call.chain.slots) {
      for (const int64_t source : slot.sources) {
        planes_[source] = plane_of(call.parts.sources[source], memory, call.steps);
        planes_[source].image = 0;  // every image in the same place
      }
      memory += slot_bytes(call.parts, slot, call.steps);
    }
    for (size_t i = 0; i < call.chain.steps.size(); ++i) {
      prepare(call.chain.steps[i], i);
      prepared_.back().borders_of = borders_of(call.chain.steps[i]);
    }
  }

  ~Worker() { arenas_.give_back(call_.chain, call_.steps, std::move(arena_)); }

  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void run_image(int64_t image) {
    for (const Prepared& step : prepared_) {
      run_units(step, image, 0, step.units);
    }
  }

  // An image, or where every plane has all of them, some images, with all threads.
  void run_together(int64_t image, int64_t images) {
    const int64_t threads = at::get_num_threads();
    std::vector<IntTeam::Step> steps;
    int64_t cost = 0;
    for (const Prepared& step : prepared_) {
      const int64_t units = images * step.units;
      const int64_t least = kGrain / std::max<int64_t>(1, step.unit_cost);
      steps.push_back({units, std::max<int64_t>({1, least, units / (kShares * threads)})});
      cost += units * step.unit_cost;
    }
    IntTeam team(steps);
    const auto work = [&](size_t i, int64_t first, int64_t last) {
      const Prepared& step = prepared_[i];
      while (first < last) {
        const int64_t unit = first % step.units;
        const int64_t end = std::min(step.units, unit + last - first);
        run_units(step, image + first / step.units, unit, end);
        first += end - unit;
      }
    };
    if (cost < kGrain) {
      return team.work_off(work);
    }
    at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
      for (; begin < end; ++begin) {
        team.work_off(work);
      }
    });
  }

 private:
  // A step, in units that threads can share: quads of pixels, or rows; of a layer with few pixels
  // once for each of some shares of its channels.
  struct Prepared {
    IntStep::Kind kind;
    int64_t units, unit_cost;
    int64_t shares = 1;
    std::unique_ptr<IntRun> layer{};
    const IntPool* pool = nullptr;
    IntEncoderRun encoder{};
    int64_t borders_of = -1;  // the source whose borders it writes too, -1 for none
  };

  int64_t borders_of(const IntStep& step) const {
    const int64_t out = writes(call_.parts, step);
    return out >= 0 && call_.chain.borders[out] != 0 ? out : -1;
  }

  void prepare(const IntStep& step, size_t i) {
    switch (step.kind) {
      case IntStep::Kind::kLayer:
        return prepare_layer(call_.parts.layers[step.index], call_.tables[i]);
      case IntStep::Kind::kPool:
        return prepare_pool(call_.parts.pools[step.index]);
      case IntStep::Kind::kEncoder:
        return prepare_encoder(call_.parts.encoders[step.index], call_.tables[i],
                               call_.currents[i]);
    }
  }

  void prepare_layer(const IntLayer& layer, const IntTables& tables) {
    auto run = std::make_unique<IntRun>(
        IntRun{call_.parts.kernels, layer, call_.parts.sources, planes_, call_.steps, call_.done});
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
    prepared_.push_back({IntStep::Kind::kLayer, quads * shares,
                         products * kPixels * call_.steps * layer.blocks / shares, shares,
                         std::move(run)});
  }

  void prepare_pool(const IntPool& pool) {
    const IntSource& out = call_.parts.sources[pool.out];
    const int64_t cost = out.width * out.channels * call_.steps * pool.kernel_y * pool.kernel_x;
    prepared_.push_back({IntStep::Kind::kPool, out.height, cost, 1, nullptr, &pool});
  }

  void prepare_encoder(const IntEncoder& encoder, const IntTables& tables, const at::Tensor& x) {
    const IntSource& out = call_.parts.sources[encoder.out];
    const IntEncoderRun run{&call_.parts.kernels,
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
    const int64_t cost = out.width * out.channels * call_.steps * 64;
    prepared_.push_back({IntStep::Kind::kEncoder, out.height, cost, 1, nullptr, nullptr, run});
  }

  bool emits(int64_t source) const { return source >= 0 && planes_[source].data != nullptr; }

  void run_units(const Prepared& step, int64_t image, int64_t first, int64_t last) const {
    if (first == 0 && step.borders_of >= 0) {
      write_borders(call_.parts.sources[step.borders_of], planes_[step.borders_of], call_.steps);
    }
    if (step.kind == IntStep::Kind::kLayer) {
      return run_shares(*step.layer, step.units / step.shares, step.shares, image, first, last);
    }
    for (int64_t y = first; y < last; ++y) {
      if (step.kind == IntStep::Kind::kPool) {
        run_pool_row(*step.pool, call_.parts.sources, planes_[step.pool->source].for_reading(),
                     planes_[step.pool->out], call_.steps, image, y);
      } else {
        run_encoder_row(step.encoder, image, y);
      }
    }
  }

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
  IntArenas& arenas_;
  c10::DataPtr arena_;
  std::vector<IntPlane<uint8_t>> planes_;
  std::vector<Prepared> prepared_;
};

}  // namespace

void run_chain(const IntChainCall& call, IntArenas& arenas) {
  const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  // Images that fill all threads run on one each; the others are shared by all threads.
  const int64_t alone = threads == 1 ? call.images : call.images / threads * threads;
  if (alone > 0) {
    std::atomic<int64_t> next{0};
    at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
      for (; begin < end; ++begin) {
        int64_t image = next++;
        if (image >= alone) {
          return;
        }
        Worker worker(call, arenas);
        for (; image < alone; image = next++) {
          worker.run_image(image);
        }
      }
    });
  }
  if (alone < call.images) {
    Worker worker(call, arenas);
    if (call.chain.slots.empty()) {
      worker.run_together(alone, call.images - alone);
    } else {
      for (int64_t image = alone; image < call.images; ++image) {
        worker.run_together(image, 1);
      }
    }
  }
}

}  // namespace spikeconv::cpu
