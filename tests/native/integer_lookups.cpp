// Random rows of spikes as words, and sums looked up by them, beside the same in plain loops, with
// every buffer no larger than the kernels may touch: compiled with sanitizers by
// test_integer_tiles.py.
//
//     integer_lookups ISA CASES
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <vector>

#include "integer_cases.h"

namespace {

constexpr int kMostTaps = kLargestLookup / kLanes;  // of all terms

// A plane of rows, steps and columns, and a window of taps over it.
struct Spikes {
  int taps_y = draw(1, 3), taps_x = draw(1, 3), dilation = draw(1, 2);
  int parts = draw(1, taps_y * taps_x * 3 > kMostTaps ? 2 : 3), channels = parts * kLanes;
  int steps = draw(1, kTileSteps);
  int pixels = kPixels * draw(1, kWordsTogether / (kPixels * steps));  // that are summed together
  int rows = (taps_y - 1) * dilation + draw(1, 2);
  int columns = (taps_x - 1) * dilation + pixels + draw(0, 5);
  int percent = draw(0, 3) * 33;
  std::vector<uint8_t> bytes = fired();

  std::vector<uint8_t> fired() const {
    std::vector<uint8_t> all(rows * steps * columns * channels);
    for (uint8_t& byte : all) {
      byte = draw(1, 100) <= percent ? 1 : 0;
    }
    return all;
  }
  const uint8_t* at(int y, int t, int x) const {
    return bytes.data() + ((y * steps + t) * columns + x) * channels;
  }
};

// [row][part][column][step].
std::vector<uint16_t> words_of(const IntLookupKernels& kernels, const Spikes& s) {
  const int size = s.columns * s.steps;
  std::vector<uint16_t> words(s.rows * s.parts * size + kWordSlack);
  for (int i = 0; i < s.rows * s.parts; ++i) {
    kernels.words(s.at(i / s.parts, 0, 0) + i % s.parts * kLanes, s.columns, s.channels, s.steps,
                  s.columns * s.channels, words.data() + i * size);
  }
  const uint16_t* word = words.data();
  for (int i = 0; i < s.rows * s.parts * size; ++i) {
    const int row = i / size, x = i % size / s.steps, t = i % s.steps;
    const uint8_t* from = s.at(row / s.parts, t, x) + row % s.parts * kLanes;
    int wanted = 0;
    for (int c = 0; c < kLanes; ++c) {
      wanted |= from[c] << c;
    }
    check(*word++ == wanted, "words");
  }
  return words;
}

// Of 16 output channels: [tap of 16 channels][channel][table_bytes], for weights
// [tap][channel][16].
std::vector<uint8_t> tables_of(const IntLookupKernels& kernels,
                               const std::vector<int8_t>& weights) {
  std::vector<uint8_t> tables(weights.size() / kLanes * kernels.table_bytes);
  uint8_t* to = tables.data();
  for (size_t first = 0; first < weights.size(); first += kLanes) {
    kernels.table(weights.data() + first, to);
    to += kernels.table_bytes;
  }
  return tables;
}

void run_case(const IntLookupKernels& kernels) {
  const Spikes s;
  const std::vector<uint16_t> words = words_of(kernels, s);
  const int y = draw(0, s.rows - 1 - (s.taps_y - 1) * s.dilation);
  const int x = draw(0, s.columns - s.pixels - (s.taps_x - 1) * s.dilation);
  std::vector<IntLookupTap> taps;
  for (int tap = 0; tap < s.taps_y * s.taps_x * s.parts; ++tap) {
    const int dy = tap / s.parts / s.taps_x * s.dilation, dx = tap / s.parts % s.taps_x;
    taps.push_back({(dy * s.parts + tap % s.parts) * s.columns * s.steps, dx * s.dilation});
  }
  const auto n_taps = static_cast<int>(taps.size());
  const int n_terms = draw(1, 2 * n_taps > kMostTaps ? 1 : 2);
  const int most = std::min(127, 32767 / (n_terms * n_taps * kLanes));  // within 16 bits
  std::vector<std::vector<int8_t>> weights;
  std::deque<Table<uint8_t>> tables;
  std::vector<IntLookupTerm> terms;
  for (int i = 0; i < n_terms; ++i) {
    weights.push_back(draws<int8_t>(taps.size() * kLanes * kLanes, -most, most));
    tables.emplace_back(tables_of(kernels, weights.back()));
    terms.push_back({words.data() + (y * s.parts * s.columns + x) * s.steps, taps.data(), n_taps,
                     tables.back().data});
  }
  const Table<int32_t> out(draws<int32_t>(s.pixels * s.steps * kLanes, -9, 9));
  IntLookupDot dot{terms.data(), n_terms, s.steps, s.pixels * s.steps, {}, out.data};
  std::vector<int> rows;  // in any order
  for (int row = 0; row < dot.words; ++row) {
    rows.insert(rows.begin() + draw(0, row), row);
  }
  for (int word = 0; word < dot.words; ++word) {
    dot.row_of[word] = static_cast<uint8_t>(rows[word]);
  }
  kernels.dot(dot);
  for (int word = 0; word < dot.words; ++word) {
    for (int k = 0; k < kLanes; ++k) {
      int32_t sum = 0;
      for (const std::vector<int8_t>& each : weights) {
        for (size_t tap = 0; tap < taps.size(); ++tap) {
          const int place = static_cast<int>(tap) / s.parts;
          const uint8_t* from = s.at(y + place / s.taps_x * s.dilation, word % s.steps,
                                     x + word / s.steps + place % s.taps_x * s.dilation) +
                                tap % s.parts * kLanes;
          for (int c = 0; c < kLanes; ++c) {
            sum += each[(tap * kLanes + k) * kLanes + c] * from[c];
          }
        }
      }
      check(out.data[rows[word] * kLanes + k] == sum, "dot");
    }
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    return 2;
  }
  const IntKernels kernels = kernels_of(arguments[1]);
  const int cases = kernels.lookups.dot == nullptr ? 0 : std::atoi(arguments[2]);
  for (int i = 0; i < cases; ++i) {
    run_case(kernels.lookups);
  }
  std::printf("%d\n", cases);
  return 0;
}
