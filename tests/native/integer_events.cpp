// Random rows of spikes as lists of places, and weights added up at them, beside the same in plain
// loops, with every buffer no larger than the kernels may touch: compiled with sanitizers by
// test_integer_tiles.py.
//
//     integer_events ISA CASES
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <vector>

#include "cpu/int_plane.h"
#include "integer_cases.h"

namespace {

// A window of taps_y x taps_x pixels over a plane of rows, steps and columns, at four places.
struct Window {
  // One in fifty has as many places as there may be.
  bool largest = draw(1, 50) == 1;
  int channels = largest ? kLargestWindow : draw(1, draw(0, 1) == 0 ? 20 : 150);
  int taps_y = largest ? 1 : draw(1, 3), taps_x = largest ? 1 : draw(1, 3), dilation = draw(1, 2);
  bool rows_are_runs = dilation == 1;
  int steps = draw(1, largest ? 2 : kTileSteps);
  int rows = (taps_y - 1) * dilation + draw(1, 2), columns = (taps_x - 1) * dilation + draw(1, 4);
  int percent = largest ? 100 : draw(0, 3) * draw(0, 33);
  std::vector<uint8_t> spikes = bytes();

  std::vector<uint8_t> bytes() const {
    std::vector<uint8_t> all(rows * steps * columns * channels + kSlack, 255);
    for (size_t i = 0; i + kSlack < all.size(); ++i) {
      all[i] = draw(1, 100) <= percent ? 1 : 0;
    }
    return all;
  }
  const uint8_t* row(int y, int t) const {
    return spikes.data() + (y * steps + t) * columns * channels;
  }
};

struct Lists {
  Lists(const IntEventKernels& kernels, const Window& w)
      : places(w.rows * w.steps * w.columns * w.channels + kEventSlack),
        from(w.rows * w.steps * (w.columns + 1)) {
    int32_t at = 0;
    for (int i = 0; i < w.rows * w.steps; ++i) {
      const uint8_t* row = w.row(i / w.steps, i % w.steps);
      const int row_bytes = w.columns * w.channels;
      int32_t* begin = from.data() + i * (w.columns + 1);
      const int32_t before = at;
      at = kernels.list(row, w.columns, w.channels, places.data(), at, begin);
      int32_t n = before;
      for (int byte = 0; byte < row_bytes; ++byte) {
        if (byte % w.channels == 0) {
          check(begin[byte / w.channels] == n, "from");
        }
        if (row[byte] == 1) {
          check(places[n++] == static_cast<uint16_t>(8 * byte), "places");
        }
      }
      check(n == at && begin[w.columns] == at, "the last of from");
      check(kernels.count(row, row_bytes) == at - before, "count");
    }
  }

  std::vector<uint16_t> places;
  std::vector<int32_t> from;
};

void run_case(const IntEventKernels& kernels) {
  const Window w;
  const Lists lists(kernels, w);
  const int n_terms = draw(1, 2), blocks = draw(1, kBlocks);
  const int window = w.taps_y * w.taps_x * w.channels;
  const int width = kBlocks * kLanes, taps = w.rows_are_runs ? 1 : w.taps_x;
  int y[kPixels], x[kPixels];
  for (int p = 0; p < kPixels; ++p) {
    y[p] = draw(0, w.rows - 1 - (w.taps_y - 1) * w.dilation);
    x[p] = draw(0, w.columns - 1 - (w.taps_x - 1) * w.dilation);
  }
  std::vector<int64_t> runs;
  std::vector<uint16_t> run_shift;
  for (int run = 0; run < w.taps_y * taps; ++run) {
    const int dy = run / taps * w.dilation, dx = run % taps * w.dilation;
    runs.push_back(dy * w.steps * (w.columns + 1) + dx);
    const int first = run * (window / (w.taps_y * taps));
    run_shift.push_back(static_cast<uint16_t>(8 * (first - dx * w.channels)));
  }
  std::deque<Table<int8_t>> weights;
  std::vector<IntEventTerm> terms(n_terms);
  const auto rows = [&] {
    std::vector<int8_t> values = draws<int8_t>(window * width, -128, 127);
    values.resize((window + 1) * width, 0);
    return weights.emplace_back(values).data;
  };
  for (IntEventTerm& term : terms) {
    term.places = lists.places.data();
    for (int p = 0; p < kPixels; ++p) {
      term.from[p] = lists.from.data() + y[p] * w.steps * (w.columns + 1) + x[p];
      term.shift[p] = static_cast<uint16_t>(-8 * x[p] * w.channels);
    }
    term.step = w.columns + 1;
    term.runs = runs.data();
    term.run_shift = run_shift.data();
    term.n_runs = static_cast<int64_t>(runs.size());
    term.pixels = w.rows_are_runs ? w.taps_x : 1;
    term.none = static_cast<uint16_t>(8 * window);
    term.bytes = draw(1, kMostBytes);
    for (int byte = 0; byte < term.bytes; ++byte) {
      term.rows[byte] = rows();
    }
  }
  const Table<int32_t> out(draws<int32_t>(w.steps * kPixels * blocks * kLanes, -9, 9));
  kernels.dot({terms.data(), n_terms, w.steps, blocks, out.data});
  const int32_t* got = out.data;
  for (int t = 0; t < w.steps; ++t) {
    for (int p = 0; p < kPixels; ++p) {
      for (int k = 0; k < blocks * kLanes; ++k) {
        int32_t sum = 0;
        for (const IntEventTerm& term : terms) {
          int at = k;
          for (int tap = 0; tap < w.taps_y * w.taps_x; ++tap) {
            const int row = y[p] + tap / w.taps_x * w.dilation;
            const int column = x[p] + tap % w.taps_x * w.dilation;
            for (int c = 0; c < w.channels; ++c) {
              int weight = 0;
              for (int byte = term.bytes - 1; byte >= 0; --byte) {
                weight = 256 * weight + term.rows[byte][at];
              }
              sum += weight * w.row(row, t)[column * w.channels + c];
              at += width;
            }
          }
        }
        check(*got++ == sum, "dot");
      }
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    return 2;
  }
  const IntKernels kernels = kernels_of(arguments[1]);
  const int cases = kernels.events.dot == nullptr ? 0 : std::atoi(arguments[2]);
  for (int i = 0; i < cases; ++i) {
    run_case(kernels.events);
  }
  std::printf("%d\n", cases);
  return 0;
}
