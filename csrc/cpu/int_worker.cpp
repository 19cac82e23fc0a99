#include "cpu/int_worker.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <utility>
#include <vector>

#include "cpu/int_step_run.h"
#include "cpu/int_team.h"

namespace spikeconv::cpu {
namespace {

// Products of a byte and a weight, or neurons' steps times 64, that are worth a thread of their
// own.
constexpr int64_t kGrain = int64_t{1} << 20;

// Parts that each thread takes of a step, so that one that is held up leaves the rest to others.
constexpr int64_t kShares = 2;

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
      runs_.push_back(make_step_run(call, step, planes_, words_));
      borders_of_.push_back(borders_of(step));
    }
  }

  ~Worker() { arenas_.give_back(plan_, call_.steps, std::move(arena_)); }

  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  size_t steps() const { return runs_.size(); }
  void run_step(size_t i, int64_t image) const { run_units(i, image, 0, runs_[i].units); }

  // An image, or where every plane has all of them, some images, with all threads.
  void run_together(int64_t image, int64_t images) {
    const int64_t threads = at::get_num_threads();
    std::vector<IntTeam::Step> steps;
    int64_t cost = 0;
    for (const IntStepRun& step : runs_) {
      const int64_t units = images * step.units;
      const int64_t least = kGrain / std::max<int64_t>(1, step.unit_cost);
      steps.push_back({units, std::max<int64_t>({1, least, units / (kShares * threads)})});
      cost += units * step.unit_cost;
    }
    IntTeam team(steps);
    const auto work = [&](size_t i, int64_t first, int64_t last) {
      const IntStepRun& step = runs_[i];
      while (first < last) {
        const int64_t unit = first % step.units;
        const int64_t end = std::min(step.units, unit + last - first);
        run_units(i, image + first / step.units, unit, end);
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

  void run_units(size_t i, int64_t image, int64_t first, int64_t last) const {
    const int64_t source = borders_of_[i];
    if (first == 0 && source >= 0) {
      write_borders(parts_.sources[source], planes_[source], call_.steps);
    }
    runs_[i].run(image, first, last);
  }

  const IntChainCall& call_;
  const IntParts& parts_;
  const IntPlan& plan_;
  IntArenas& arenas_;
  c10::DataPtr arena_;
  std::vector<IntPlane<uint8_t>> planes_;  // by source
  std::vector<IntWordPlane> words_;        // by the plan's number
  std::vector<IntStepRun> runs_;
  std::vector<int64_t> borders_of_;  // by step, the source whose borders it writes too, or -1
};

// The images that threads take, up to `most` at once, and fewer towards the end, so that all
// threads end together.
class Turns {
 public:
  Turns(int64_t images, int64_t threads, int64_t most)
      : images_(images), threads_(threads), most_(most) {}

  // The next ones; none where all are taken.
  IntRange take() {
    int64_t first = next_, last = images_;
    do {
      if (first >= images_) {
        return {images_, images_};
      }
      last = first + std::clamp<int64_t>((images_ - first) / threads_, 1, most_);
    } while (!next_.compare_exchange_weak(first, last));
    return {first, last};
  }

 private:
  const int64_t images_, threads_, most_;
  std::atomic<int64_t> next_{0};
};

}  // namespace

void run_chain(const IntChainCall& call, IntArenas& arenas) {
  const int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  // Images that fill all threads run on one each; the others are shared by all threads.
  const int64_t alone = threads == 1 ? call.images : call.images / threads * threads;
  if (alone > 0) {
    Turns turns(alone, threads, images_together(call.parts, call.plan, call.steps));
    at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
      for (; begin < end; ++begin) {
        std::deque<Worker> workers;
        for (IntRange images = turns.take(); images.first < images.last; images = turns.take()) {
          const auto count = static_cast<size_t>(images.last - images.first);
          while (workers.size() < count) {
            workers.emplace_back(call, arenas);
          }
          for (size_t i = 0; i < workers.front().steps(); ++i) {
            for (size_t j = 0; j < count; ++j) {
              workers[j].run_step(i, images.first + static_cast<int64_t>(j));
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
