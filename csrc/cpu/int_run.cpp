#include "cpu/int_run.h"

#include <algorithm>

#include "cpu/int_event_lists.h"
#include "cpu/int_tiles.h"

namespace spikeconv::cpu {

void IntRun::prepare() {
  for (const IntConvolution& convolution : layer.convolutions) {
    const IntPlane<uint8_t>& plane = planes[convolution.window.source];
    const size_t at = runs.size();
    runs.resize(at + convolution.n_runs);
    convolution.runs(convolution.window.dilation_y * plane.row,
                     convolution.window.dilation_x * plane.pixel, runs.data() + at);
  }
}

void run_layer(const IntRun& run, int64_t image, IntRange quads, IntRange blocks) {
  run.kernels.begin();
  while (quads.first < quads.last) {
    const int64_t first = quads.first * kPixels;
    const int64_t all = std::min(quads.last * kPixels, run.layer.pixels());
    const int64_t end = EventLists::together(run, first, all);
    const int64_t next = end == all ? quads.last : std::max(quads.first + 1, end / kPixels);
    const int64_t last = std::min(next * kPixels, all), n_blocks = blocks.last - blocks.first;
    EventLists lists(run, image, first, last);
    const IntRange part{quads.first, next};
    run_tiles(run, image, part, blocks, lists.make(n_blocks) ? &lists : nullptr);
    quads.first = next;
  }
  run.kernels.end();
}

}  // namespace spikeconv::cpu
