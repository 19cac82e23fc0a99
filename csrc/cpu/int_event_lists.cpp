#include "cpu/int_event_lists.h"

#include <algorithm>

#include "cpu/int_sizes.h"

namespace spikeconv::cpu {
namespace {

// So many spikes, or a part of an image that could have them, are not listed: positions in a list
// are 32 bits, and memory is kept.
constexpr int64_t kMostPlaces = int64_t{1} << 24;

// What it takes to begin with a pixel's bytes, in bytes.
constexpr int64_t kBytesOfPixel = 80;

// Made once for each thread, and never smaller again.
IntListMemory& memory_of_thread() {
  static thread_local IntListMemory memory;
  return memory;
}

}  // namespace

int64_t EventLists::together(const IntRun& run, int64_t first, int64_t last) {
  if (!run.layer.takes_events) {
    return last;
  }
  int64_t rows = run.layer.height;
  for (const IntConvolution& convolution : run.layer.convolutions) {
    if (convolution.channelwise) {
      continue;
    }
    const IntWindow& window = convolution.window;
    const int64_t row = run.sources[window.source].step_bytes() * run.steps;
    const int64_t further = kBytesTogether / row - window.extent_y();
    rows = std::min(rows, 1 + std::max<int64_t>(0, further / window.stride_y));
  }
  const int64_t width = run.layer.width;
  return std::min(last, (first / width + rows) * width);
}

EventLists::EventLists(const IntRun& run, int64_t image, int64_t first, int64_t last)
    : run_(run), image_(image), pixels_(last - first), memory_(memory_of_thread()) {
  for (const IntConvolution& convolution : run.layer.convolutions) {
    if (run.layer.takes_events && !convolution.channelwise) {
      add(convolution, first / run.layer.width, (last - 1) / run.layer.width);
    }
  }
}

int64_t EventLists::row_bytes(const Listed& listed) {
  return listed.source->columns() * listed.source->channels;
}

void EventLists::add(const IntConvolution& convolution, int64_t first_y, int64_t last_y) {
  const IntWindow& w = convolution.window;
  const IntSource& source = run_.sources[w.source];
  Listed& listed = listed_.emplace_back();
  listed.convolution = &convolution;
  listed.source = &source;
  listed.read = rows_read(w, source, {first_y, last_y + 1});
  listed.places = n_places_;
  listed.from = n_from_;
  const int64_t lists = listed.rows() * run_.steps;
  n_places_ += lists * source.columns() * source.channels + kEventSlack;
  n_from_ += lists * (source.columns() + 1);
  const int64_t taps = convolution.rows_are_runs ? 1 : w.kernel_x;
  const int64_t run_bytes = convolution.window_bytes() / convolution.n_runs;
  for (int64_t run = 0; run < convolution.n_runs; ++run) {
    const int64_t y = run / taps * w.dilation_y, x = run % taps * w.dilation_x;
    listed.runs.push_back(y * run_.steps * (source.columns() + 1) + x);
    listed.run_shift.push_back(static_cast<uint16_t>(8 * (run * run_bytes - x * source.channels)));
  }
}

const uint8_t* EventLists::row(const Listed& listed, int64_t y, int64_t step) const {
  const auto plane = run_.planes[listed.convolution->window.source].for_reading();
  return plane.data + image_ * plane.image + y * plane.row + step * plane.step;
}

// What is gained by events, were there none, and what each of them in a window takes of it.
EventLists::Gain EventLists::gain_of(const Listed& listed, int64_t blocks) const {
  const IntEventKernels& kernels = run_.kernels.events;
  const IntConvolution& convolution = *listed.convolution;
  const auto windows = static_cast<float>(pixels_ * run_.steps);
  const auto pairs = static_cast<float>(ceil_div(blocks, kPair));
  return {windows * gain_of_silence(kernels, convolution, blocks) -
              kernels.byte_cost *
                  static_cast<float>(listed.rows() * run_.steps * listed.source->columns() *
                                     (listed.source->channels + kBytesOfPixel)),
          windows * pairs * kernels.event_cost * static_cast<float>(convolution.passes())};
}

// Events in a window on average. Borders have none.
float EventLists::in_window(const Listed& listed) const {
  const IntSource& source = *listed.source;
  const int64_t first = std::max(listed.read.first, source.above);
  const int64_t last = std::min(listed.read.last, source.above + source.height);
  int64_t events = 0;
  for (int64_t y = first; y < last; ++y) {
    for (int64_t step = 0; step < run_.steps; ++step) {
      events += run_.kernels.events.count(row(listed, y, step), row_bytes(listed));
    }
  }
  const int64_t neurons =
      std::max<int64_t>(1, (last - first) * run_.steps * source.width * source.channels);
  return static_cast<float>(listed.convolution->window_bytes()) * static_cast<float>(events) /
         static_cast<float>(neurons);
}

bool EventLists::make(int64_t blocks) {
  float gain = 0;
  for (const Listed& listed : listed_) {
    gain += gain_of(listed, blocks).without;
  }
  if (listed_.empty() || gain < 0 || n_places_ > kMostPlaces) {
    return false;
  }
  for (const Listed& listed : listed_) {
    gain -= gain_of(listed, blocks).of_event * in_window(listed);
  }
  if (gain < 0) {
    return false;
  }
  memory_.places.grow(n_places_);
  memory_.from.grow(n_from_);
  for (const Listed& listed : listed_) {
    list(listed);
  }
  return true;
}

void EventLists::list(const Listed& listed) {
  uint16_t* places = memory_.places.data() + listed.places;
  int32_t* from = memory_.from.data() + listed.from;
  const int64_t columns = listed.source->columns();
  int32_t at = 0;
  for (int64_t y = listed.read.first; y < listed.read.last; ++y) {
    for (int64_t step = 0; step < run_.steps; ++step) {
      at = run_.kernels.events.list(row(listed, y, step), columns, listed.source->channels, places,
                                    at, from);
      from += columns + 1;
    }
  }
}

EventSums::EventSums(const EventLists& lists, int64_t block, int blocks, int32_t* out)
    : lists_(lists) {
  for (const EventLists::Listed& listed : lists.listed_) {
    const IntConvolution& convolution = *listed.convolution;
    const int64_t bytes = convolution.window_bytes();
    IntEventTerm& term = terms_.emplace_back();
    term.places = lists.memory_.places.data() + listed.places;
    term.step = listed.source->columns() + 1;
    term.runs = listed.runs.data();
    term.run_shift = listed.run_shift.data();
    term.n_runs = convolution.n_runs;
    term.pixels = convolution.rows_are_runs ? convolution.window.kernel_x : 1;
    term.none = static_cast<uint16_t>(8 * bytes);
    for (const at::Tensor& rows : convolution.rows) {
      term.rows[term.bytes++] = rows.const_data_ptr<int8_t>() + block * kLanes * (bytes + 1);
    }
  }
  dot_.terms = terms_.data();
  dot_.n_terms = static_cast<int>(terms_.size());
  dot_.blocks = blocks;
  dot_.out = out;
}

void EventSums::run(const int64_t* y, const int64_t* x, int64_t first, int steps) {
  for (size_t i = 0; i < terms_.size(); ++i) {
    const EventLists::Listed& listed = lists_.listed_[i];
    const IntWindow& w = listed.convolution->window;
    const int32_t* from = lists_.memory_.from.data() + listed.from + first * terms_[i].step;
    const int64_t above = w.above - listed.source->above + listed.read.first;
    const int64_t left = w.left - listed.source->left;
    for (int p = 0; p < kPixels; ++p) {
      const int64_t row = y[p] * w.stride_y - above, column = x[p] * w.stride_x - left;
      terms_[i].from[p] = from + row * lists_.run_.steps * terms_[i].step + column;
      terms_[i].shift[p] = static_cast<uint16_t>(-8 * column * listed.source->channels);
    }
  }
  dot_.steps = steps;
  lists_.run_.kernels.events.dot(dot_);
}

}  // namespace spikeconv::cpu
