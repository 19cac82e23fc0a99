#include "cpu/int_lookup_words.h"

#include <algorithm>

namespace spikeconv::cpu {
namespace {

// Made once for each thread, and never smaller again.
IntWordMemory& memory_of_thread() {
  static thread_local IntWordMemory memory;
  return memory;
}

}  // namespace

LookupWords::LookupWords(const IntRun& run, int64_t image, int64_t first, int64_t last)
    : run_(run), image_(image), pixels_(last - first), memory_(memory_of_thread()) {
  for (const IntConvolution& convolution : run.layer.convolutions) {
    if (convolution.tables.defined()) {
      add(convolution, {first / run.layer.width, (last - 1) / run.layer.width + 1});
    }
  }
}

void LookupWords::add(const IntConvolution& convolution, IntRange rows) {
  const IntWindow& w = convolution.window;
  const IntSource& source = run_.sources[w.source];
  Source& added = sources_.emplace_back();
  added.convolution = &convolution;
  added.source = &source;
  added.read = rows_read(w, source, rows);
  added.at = size_;
  size_ += added.size(run_.steps) + kWordSlack;
  for (int64_t y = 0; y < w.kernel_y; ++y) {
    for (int64_t x = 0; x < w.kernel_x; ++x) {
      const int64_t column = added.place(source.left - w.left + x * w.dilation_x);
      for (int64_t part = 0; part < added.words(); ++part) {
        added.taps.push_back(
            {y * w.dilation_y * added.row(run_.steps) + part * added.part(run_.steps), column});
      }
    }
  }
}

int64_t LookupWords::Source::first_place(int64_t remainder) const {
  const int64_t columns = source->columns();
  return remainder * (columns / stride()) + std::min(remainder, columns % stride());
}

float LookupWords::gain(int64_t blocks) const {
  if (sources_.empty() || run_.chunks() > kMostChunks) {
    return 0;
  }
  const IntLookupKernels& kernels = run_.kernels.lookups;
  const auto windows = static_cast<float>(pixels_ * run_.steps * blocks);
  // Words that are looked up in a row, and so many of them as would take as long.
  const int64_t steps = ceil_div(run_.steps, run_.chunks()), quad = kPixels * steps;
  const int64_t quads = run_.layer.width / kPixels, together = kWordsTogether / quad;
  const auto filled = [&](int64_t n) { return ceil_div(n * quad, kernels.at_once); };
  const int64_t calls = quads / together * filled(together) + filled(quads % together);
  const float room = static_cast<float>(calls * kernels.at_once) / static_cast<float>(quads * quad);
  float gain = -windows * kernels.window_cost;
  for (const Source& source : sources_) {
    gain += windows * static_cast<float>(source.convolution->window_bytes()) *
                (1 - room * kernels.byte_cost) -
            kernels.word_cost * static_cast<float>(source.size(run_.steps));
  }
  return gain;
}

// In the order of memory, since what is written after the words of a row is overwritten by the
// next.
void LookupWords::write() {
  memory_.grow(size_);
  for (const Source& source : sources_) {
    const auto plane = run_.planes[source.convolution->window.source].for_reading();
    uint16_t* to = memory_.data() + source.at;
    for (int64_t y = source.read.first; y < source.read.last; ++y) {
      const uint8_t* row = plane.data + image_ * plane.image + y * plane.row;
      for (int64_t part = 0; part < source.words(); ++part) {
        for (int64_t i = 0; i < run_.chunks(); ++i) {
          const int64_t first = run_.first_step(i);
          const auto steps = static_cast<int>(run_.first_step(i + 1) - first);
          const uint8_t* from = row + first * plane.step + part * kLanes;
          for (int64_t r = 0; r < source.stride(); ++r) {
            const int64_t columns = source.first_place(r + 1) - source.first_place(r);
            run_.kernels.lookups.words(from + r * plane.pixel, columns,
                                       source.stride() * plane.pixel, steps, plane.step, to);
            to += columns * steps;
          }
        }
      }
    }
  }
}

LookupSums::LookupSums(const LookupWords& words, int64_t block, int64_t last, int32_t* out)
    : words_(words), quads_of_row_(words.run_.layer.width / kPixels), last_(last), out_(out) {
  for (const LookupWords::Source& source : words.sources_) {
    const auto n_taps = static_cast<int64_t>(source.taps.size());
    IntLookupTerm& term = terms_.emplace_back();
    term.taps = source.taps.data();
    term.n_taps = n_taps;
    const at::Tensor& tables = source.convolution->tables;
    term.tables = tables.const_data_ptr<uint8_t>() + block * tables.stride(0);
  }
  dot_.terms = terms_.data();
  dot_.n_terms = static_cast<int>(terms_.size());
}

int32_t* LookupSums::run(int64_t quad, int64_t chunk) {
  if (quad < begin_[chunk] || quad >= end_[chunk]) {
    look_up(quad, chunk);
  }
  const int64_t steps = words_.run_.first_step(chunk + 1) - words_.run_.first_step(chunk);
  return out_ + (chunk * kWordsTogether + (quad - begin_[chunk]) * kPixels * steps) * kLanes;
}

void LookupSums::look_up(int64_t quad, int64_t chunk) {
  const IntRun& run = words_.run_;
  const int64_t first = run.first_step(chunk);
  const auto steps = static_cast<int>(run.first_step(chunk + 1) - first);
  const int64_t y = quad / quads_of_row_, x = quad % quads_of_row_ * kPixels;
  const int64_t quads = std::min<int64_t>(
      {kWordsTogether / (kPixels * steps), quads_of_row_ - quad % quads_of_row_, last_ - quad});
  if (dot_.steps != steps) {
    dot_.steps = steps;
    for (int word = 0; word < kWordsTogether; ++word) {
      const int pixel = word / steps, step = word % steps;
      dot_.row_of[word] =
          static_cast<uint8_t>((pixel / kPixels * steps + step) * kPixels + pixel % kPixels);
    }
  }
  for (size_t i = 0; i < terms_.size(); ++i) {
    const LookupWords::Source& source = words_.sources_[i];
    const IntWindow& w = source.convolution->window;
    const int64_t row = rows_read(w, *source.source, {y, y + 1}).first - source.read.first;
    terms_[i].words = words_.memory_.data() + source.at + row * source.row(run.steps) +
                      first * source.source->columns() + x * steps;
  }
  dot_.words = static_cast<int>(quads * kPixels * steps);
  dot_.out = out_ + chunk * kWordsTogether * kLanes;
  run.kernels.lookups.dot(dot_);
  begin_[chunk] = quad;
  end_[chunk] = quad + quads;
}

}  // namespace spikeconv::cpu
