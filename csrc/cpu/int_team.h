// Threads that work off a list of steps together, each step when the one before it is complete.
//
// One parallel region serves all steps. Whoever is there takes what is left to do, so that a thread
// that starts late, or never, holds nobody up; and between two steps threads wait awake, since
// falling asleep and being woken takes as long as a small layer.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace spikeconv::cpu {

class IntTeam {
 public:
  struct Step {
    int64_t units;
    int64_t share;  // units that a thread takes at once
  };

  explicit IntTeam(const std::vector<Step>& steps) : progress_(steps.size()) {
    for (size_t i = 0; i < steps.size(); ++i) {
      progress_[i].step = steps[i];
    }
  }

  // To be called by every thread; returns when all is done. work(i, first, last) does the units
  // [first, last) of step i.
  template <class Work>
  void work_off(const Work& work) {
    try {
      for (size_t i = 0; i < progress_.size(); ++i) {
        Progress& now = progress_[i];
        for (int64_t first = take(now); first < now.step.units; first = take(now)) {
          const int64_t last = std::min(now.step.units, first + now.step.share);
          work(i, first, last);
          now.done.fetch_add(last - first, std::memory_order_release);
        }
        if (!wait_for(now)) {
          return;
        }
      }
    } catch (...) {
      failed_ = true;  // else the others would wait for what will never be done
      throw;
    }
  }

 private:
  struct alignas(64) Progress {
    Step step{};
    std::atomic<int64_t> taken{0};
    std::atomic<int64_t> done{0};
  };

  static int64_t take(Progress& of) {
    return of.taken.fetch_add(of.step.share, std::memory_order_relaxed);
  }

  // Whether the step was completed: false where a thread failed.
  bool wait_for(const Progress& of) const {
    constexpr int kAwake = 2000;
    for (int i = 0; of.done.load(std::memory_order_acquire) < of.step.units; ++i) {
      if (failed_) {
        return false;
      }
      if (i >= kAwake) {
        std::this_thread::yield();  // there may be fewer processors than threads
      } else {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
      }
    }
    return true;
  }

  std::vector<Progress> progress_;
  std::atomic<bool> failed_{false};
};

}  // namespace spikeconv::cpu
