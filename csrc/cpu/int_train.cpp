#include "cpu/int_train.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstring>

#include "cpu/int_transpose.h"

namespace spikeconv::cpu {
namespace {

// Bytes of rows that are worth a thread of their own.
constexpr int64_t kGrainBytes = 1 << 15;

// Calls row(t, b, y) for every row of the train, in parallel.
template <class Row>
void for_each_row(const IntSource& source, int64_t steps, int64_t images, const Row& row) {
  const int64_t rows = images * source.height * steps;
  const int64_t grain = std::max<int64_t>(1, kGrainBytes / (source.width * source.channels));
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      row(i % steps, i / steps / source.height, i / steps % source.height);
    }
  });
}

// Calls square(c, channels, x, pixels) for squares that cover a row of pixels and all its channels.
template <class Square>
void for_each_square(const IntSource& source, const Square& square) {
  for (int64_t c = 0; c < source.channels; c += kSquare) {
    for (int64_t x = 0; x < source.width; x += kSquare) {
      square(c, std::min<int64_t>(kSquare, source.channels - c), x,
             std::min<int64_t>(kSquare, source.width - x));
    }
  }
}

// Neighbours in memory, which vectorises, most of all where their number is known, or values at
// some distance.
template <class Value, class Byte>
void to_bytes(const Value* from, int64_t stride, int64_t count, uint8_t* to, const Byte& byte) {
  if (stride == 1 && count == kSquare) {
    for (int64_t i = 0; i < kSquare; ++i) {
      to[i] = byte(from[i]);
    }
  } else {
    for (int64_t i = 0; i < count; ++i) {
      to[i] = byte(from[i * stride]);
    }
  }
}

// Most squares are full, and a copy of known length is one instruction.
void copy_row(const uint8_t* from, int64_t count, uint8_t* to) {
  if (count == kSquare) {
    std::memcpy(to, from, kSquare);
  } else {
    std::memcpy(to, from, count);
  }
}

template <class Value, class Byte>
void pack_rows(const IntSource& source, const at::Tensor& train, const IntPlane<uint8_t>& plane,
               const Byte& byte) {
  const Value* data = train.const_data_ptr<Value>();
  const int64_t stride_t = train.stride(0), stride_b = train.stride(1), stride_c = train.stride(2),
                stride_y = train.stride(3), stride_x = train.stride(4);
  for_each_row(source, train.size(0), train.size(1), [&](int64_t t, int64_t b, int64_t y) {
    const Value* from = data + t * stride_t + b * stride_b + y * stride_y;
    uint8_t* to = plane.at(source, b, y, 0) + t * plane.step;
    if (stride_c == 1 && source.channels > 1) {
      for (int64_t x = 0; x < source.width; ++x) {
        for (int64_t c = 0; c < source.channels; c += kSquare) {
          to_bytes(from + x * stride_x + c, 1, std::min<int64_t>(kSquare, source.channels - c),
                   to + x * plane.pixel + c, byte);
        }
      }
      return;
    }
    for_each_square(source, [&](int64_t c, int64_t channels, int64_t x, int64_t pixels) {
      ByteSquare square;
      for (int64_t i = 0; i < channels; ++i) {
        to_bytes(from + (c + i) * stride_c + x * stride_x, stride_x, pixels, square.rows[i], byte);
      }
      transpose(square);
      for (int64_t i = 0; i < pixels; ++i) {
        copy_row(square.rows[i], channels, to + (x + i) * plane.pixel + c);
      }
    });
  });
}

}  // namespace

void pack_train(const IntSource& source, const at::Tensor& train, const IntPlane<uint8_t>& plane) {
  const uint8_t zero = source.zero();
  const auto sum = [zero](auto value) { return static_cast<uint8_t>(value + zero); };
  switch (train.scalar_type()) {
    case at::kByte:
      return pack_rows<uint8_t>(source, train, plane, sum);
    case at::kChar:
      return pack_rows<int8_t>(source, train, plane, sum);
    case at::kFloat:
      return pack_rows<float>(source, train, plane, [zero](float value) {
        return static_cast<uint8_t>(zero + (value > 0) - (value < 0));
      });
    default:
      TORCH_CHECK(false, "_IntegerProgram.pack: train must be float32, uint8 or int8, got ",
                  train.scalar_type());
  }
}

void unpack_train(const IntSource& source, const IntPlane<const uint8_t>& plane,
                  const at::Tensor& train) {
  auto* data = static_cast<uint8_t*>(train.mutable_data_ptr());  // of int8
  const int64_t images = train.size(1);
  const int64_t channel = source.height * source.width;
  const uint8_t zero = source.zero();
  for_each_row(source, train.size(0), images, [&](int64_t t, int64_t b, int64_t y) {
    const uint8_t* from = plane.at(source, b, y, 0) + t * plane.step;
    uint8_t* to = data + (t * images + b) * source.channels * channel + y * source.width;
    for_each_square(source, [&](int64_t c, int64_t channels, int64_t x, int64_t pixels) {
      ByteSquare square;
      for (int64_t i = 0; i < pixels; ++i) {
        // Whole squares: what follows the channels may be read, and is not used.
        std::memcpy(square.rows[i], from + (x + i) * plane.pixel + c, kSquare);
        for (uint8_t& byte : square.rows[i]) {
          byte = static_cast<uint8_t>(byte - zero);
        }
      }
      transpose(square);
      for (int64_t i = 0; i < channels; ++i) {
        copy_row(square.rows[i], pixels, to + (c + i) * channel + x);
      }
    });
  });
}

}  // namespace spikeconv::cpu
