#include "cpu/int_worker.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "cpu/int_lookup_run.h"
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
      : call_(call),
        parts_(call.parts),
        plan_(call.plan),
        arenas_(arenas),
        planes_(call.planes),
        words_(call.plan.words.size()) {
    arena_ = arenas.take(parts_, plan_, call.steps);
    place_planes(static_cast<uint8_t*>(arena_.get()));
    for (const IntStep& step : plan_.steps) {
      prepared_.push_back(prepare(step));
      prepared_.back().borders_of = borders_of(step);
    }
  }

  ~Worker() { arenas_.give_back(plan_, call_.steps, std::move(arena_)); }

  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  int64_t steps() const { return static_cast<int64_t>(prepared_.size()); }
  void run_step(int64_t i, int64_t image) const {
    run_units(prepared_[i], image, 0, prepared_[i].units);
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
  // A step, in units that threads can share: quads of pixels, groups of positions, or rows; of a
  // layer with few pixels once for each of some shares of its channels.
  struct Prepared {
    int64_t units, unit_cost;
    std::function<void(int64_t image, int64_t first, int64_t last)> run;
    int64_t borders_of = -1;  // the source whose borders it writes too, -1 for none
  };

  void place_planes(uint8_t* memory) {
    for (const IntSlot& slot : plan_.slots) {
      for (const int64_t source : slot.sources) {
        planes_[source] = plane_of(parts_.sources[source], memory, call_.steps);
        planes_[source].image = 0;  // every image in the same place
      }
      memory += slot_bytes(parts_, slot, call_.steps);
    }
    for (const IntWordSlot& slot : plan_.word_slots) {
      for (const int64_t plane : slot.planes) {
        const IntWordForm& form = plan_.words[plane];
        words_[plane] = IntWordPlane(parts_.sources[form.source], form, call_.steps);
        words_[plane].data = reinterpret_cast<uint16_t*>(memory) + words_[plane].slack();
      }
      memory += slot_bytes(parts_, plan_, slot, call_.steps);
    }
  }

  int64_t borders_of(const IntStep& step) const {
    const int64_t out = writes(parts_, step);
    return out >= 0 && plan_.borders[out] != 0 ? out : -1;
  }

  Prepared prepare(const IntStep& step) const {
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

  Prepared prepare_layer(const IntLayer& layer, const IntTables& tables) const {
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

  Prepared prepare_lookup(const IntStep& step) const {
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

  Prepared prepare_pool(const IntPool& pool) const {
    const IntSource& out = parts_.sources[pool.out];
    return by_rows(out, pool.kernel_y * pool.kernel_x, [this, &pool](int64_t image, int64_t y) {
      run_pool_row(pool, parts_.sources, planes_[pool.source].for_reading(), planes_[pool.out],
                   call_.steps, image, y);
    });
  }

  Prepared prepare_encoder(const IntStep& step, const IntEncoder& encoder, const IntTables& tables,
                           const at::Tensor& x) const {
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
  Prepared prepare_conversion(const IntStep& step) const {
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
  Prepared by_rows(const IntSource& source, int64_t cost, const Row& row) const {
    return {source.height, source.width * source.channels * call_.steps * cost,
            [row](int64_t image, int64_t first, int64_t last) {
              for (int64_t y = first; y < last; ++y) {
                row(image, y);
              }
            }};
  }

  bool emits(int64_t source) const { return source >= 0 && planes_[source].data != nullptr; }

  void run_units(const Prepared& step, int64_t image, int64_t first, int64_t last) const {
    if (first == 0 && step.borders_of >= 0) {
      write_borders(parts_.sources[step.borders_of], planes_[step.borders_of], call_.steps);
    }
    step.run(image, first, last);
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
  const IntParts& parts_;
  const IntPlan& plan_;
  IntArenas& arenas_;
  c10::DataPtr arena_;
  std::vector<IntPlane<uint8_t>> planes_;  // by source
  std::vector<IntWordPlane> words_;        // by the plan's number
  std::vector<Prepared> prepared_;
};

}  // namespace

void run_chain(const IntChainCall& call, IntArenas& arenas) {
  const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  // Images that fill all threads run on one each; the others are shared by all threads.
  const int64_t alone = threads == 1 ? call.images : call.images / threads * threads;
  const int64_t together =
      std::clamp<int64_t>(alone / threads, 1, images_together(call.parts, call.plan, call.steps));
  if (alone > 0) {
    std::atomic<int64_t> next{0};
    at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
      for (; begin < end; ++begin) {
        std::deque<Worker> workers;
        for (int64_t image = next.fetch_add(together); image < alone;
             image = next.fetch_add(together)) {
          const int64_t count = std::min(together, alone - image);
          while (static_cast<int64_t>(workers.size()) < count) {
            workers.emplace_back(call, arenas);
          }
          for (int64_t i = 0; i < workers.front().steps(); ++i) {
            for (int64_t j = 0; j < count; ++j) {
              workers[j].run_step(i, image + j);
            }
          }
        }
      }
    });
  }
  if (alone < call.images) {
    Worker worker(call, arenas);
    if (call.plan.is_handed_in()) {
      worker.run_together(alone, call.images - alone);
    } else {
      for (int64_t image = alone; image < call.images; ++image) {
        worker.run_together(image, 1);
      }
    }
  }
}

}  // namespace spikeconv::cpu
