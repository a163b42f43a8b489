#pragma once

// Included by one source file per instruction set, which is compiled with flags of its own and
// defines TINKEX_VECTOR_BYTES and TINKEX_TILE_OUTS. Everything here has internal linkage and calls
// no inline function of a library: the linker might take such a function's copy from this file and
// run its instructions on a machine that lacks them.

#include <cstdint>
#include <utility>

#include "torch_ext/local/row_kernels.h"

namespace tinkex::torch_ext::local {
namespace {

using FloatVec [[gnu::vector_size(TINKEX_VECTOR_BYTES)]] = float;
using DoubleVec [[gnu::vector_size(TINKEX_VECTOR_BYTES)]] = double;
using IntVec [[gnu::vector_size(TINKEX_VECTOR_BYTES)]] = std::int32_t;
using HalfVec [[gnu::vector_size(TINKEX_VECTOR_BYTES / 2)]] = std::uint16_t;

template <class T>
struct VecOf;
template <>
struct VecOf<float> {
  using Type = FloatVec;
};
template <>
struct VecOf<double> {
  using Type = DoubleVec;
};
template <class T>
using Vec = typename VecOf<T>::Type;

template <class T>
constexpr std::int64_t kVec = TINKEX_VECTOR_BYTES / sizeof(T);

/// Rows of x that one tile computes at most.
constexpr int kTileRows = 4;

template <class T>
Vec<T> load(const T* from) {
  Vec<T> vec;
  __builtin_memcpy(&vec, from, sizeof vec);
  return vec;
}

template <class T>
Vec<T> load(const std::uint16_t* from) {
  HalfVec half;
  __builtin_memcpy(&half, from, sizeof half);
  const IntVec wide = __builtin_convertvector(half, IntVec) << 16;
  Vec<T> vec;
  __builtin_memcpy(&vec, &wide, sizeof vec);
  return vec;
}

/// `count` elements, and zeros for the rest.
template <class T, class W>
Vec<T> load_some(const W* from, std::int64_t count) {
  if (count >= kVec<T>) return load<T>(from);
  W filled[kVec<T>] = {};
  __builtin_memcpy(filled, from, static_cast<std::size_t>(count) * sizeof(W));
  return load<T>(static_cast<const W*>(filled));
}

/// The vector turned by `Half` lanes.
template <class T, int Half, int... Lane>
Vec<T> turned(const Vec<T>& vec, std::integer_sequence<int, Lane...> /*lanes*/) {
  return __builtin_shufflevector(vec, vec, ((Lane + Half) % static_cast<int>(kVec<T>))...);
}

/// The lanes' sum, by halves.
template <class T, int Half = static_cast<int>(kVec<T>) / 2>
T sum_of(const Vec<T>& vec) {
  if constexpr (Half == 0) {
    return vec[0];
  } else {
    return sum_of<T, Half / 2>(
        vec + turned<T, Half>(vec, std::make_integer_sequence<int, static_cast<int>(kVec<T>)>{}));
  }
}

/// R rows of x with C rows of w. One accumulator per element, whatever R and C are.
template <int R, int C, class T, class W>
void tile(const RowProduct<T, W>& p, std::int64_t row, std::int64_t out) {
  const T* x = p.x + row * p.x_stride;
  const W* w = p.w + out * p.in;
  Vec<T> sums[R][C] = {};
  // The last vector is filled up with zeros, so that every element is computed by the same steps.
  for (std::int64_t k = 0; k < p.in; k += kVec<T>) {
    const std::int64_t left = p.in - k;
    Vec<T> a[R];
    for (int r = 0; r < R; ++r) a[r] = load_some<T>(x + r * p.x_stride + k, left);
    for (int c = 0; c < C; ++c) {
      const Vec<T> b = load_some<T>(w + c * p.in + k, left);
      for (int r = 0; r < R; ++r) sums[r][c] += a[r] * b;
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) {
      const T sum = p.scale * sum_of<T>(sums[r][c]);
      T& y = p.y[(row + r) * p.y_stride + out + c];
      y = p.add ? y + sum : sum;
    }
  }
}

template <int C, class T, class W>
void columns(const RowProduct<T, W>& p, std::int64_t out) {
  std::int64_t row = 0;
  for (; row + kTileRows <= p.rows; row += kTileRows) tile<kTileRows, C>(p, row, out);
  switch (p.rows - row) {
    case 3: return tile<3, C>(p, row, out);
    case 2: return tile<2, C>(p, row, out);
    case 1: return tile<1, C>(p, row, out);
    default: return;
  }
}

template <class T, class W>
void product(const RowProduct<T, W>& p) {
  // A single row needs more columns at a time to keep the memory busy.
  constexpr int kAlone = 8;
  std::int64_t out = 0;
  if (p.rows == 1) {
    for (; out + kAlone <= p.outs; out += kAlone) tile<1, kAlone>(p, 0, out);
  }
  for (; out + TINKEX_TILE_OUTS <= p.outs; out += TINKEX_TILE_OUTS) {
    columns<TINKEX_TILE_OUTS>(p, out);
  }
  for (; out < p.outs; ++out) columns<1>(p, out);
}

/// exp to float's precision: 2^n times a polynomial on [-ln(2)/2, ln(2)/2], as in Cephes' expf.
FloatVec exponential(FloatVec x) {
  x = x < -87.0F ? FloatVec{} - 87.0F : x;
  x = x > 88.0F ? FloatVec{} + 88.0F : x;
  const FloatVec scaled = x * 1.44269504F;
  const IntVec n = __builtin_convertvector(
      scaled + (scaled < 0.0F ? FloatVec{} - 0.5F : FloatVec{} + 0.5F), IntVec);
  const FloatVec whole = __builtin_convertvector(n, FloatVec);
  const FloatVec r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
  FloatVec y = FloatVec{} + 1.9875691500e-4F;
  y = y * r + 1.3981999507e-3F;
  y = y * r + 8.3334519073e-3F;
  y = y * r + 4.1665795894e-2F;
  y = y * r + 1.6666665459e-1F;
  y = y * r + 5.0000001201e-1F;
  y = y * (r * r) + r + 1.0F;
  const IntVec bits = (n + 127) << 23;
  FloatVec power;
  __builtin_memcpy(&power, &bits, sizeof power);
  return y * power;
}

DoubleVec exponential(DoubleVec x) {
  for (std::int64_t i = 0; i < kVec<double>; ++i) x[i] = __builtin_exp(x[i]);
  return x;
}

/// Calls `f` on vectors of the first `size` elements; the last one is filled up with zeros, and
/// what `f` returns for those is dropped. So each element is computed alike wherever it lies.
template <class T, class F>
void for_each_vec(std::int64_t size, T* out, const F& f) {
  for (std::int64_t i = 0; i < size; i += kVec<T>) {
    const std::int64_t count = size - i < kVec<T> ? size - i : kVec<T>;
    const Vec<T> result = f(i, count);
    __builtin_memcpy(out + i, &result, static_cast<std::size_t>(count) * sizeof(T));
  }
}

template <class T>
void gate(const GatedRow<T>& row) {
  for_each_vec(row.size, row.out, [&](std::int64_t i, std::int64_t count) {
    const Vec<T> g = load_some<T>(row.gate + i, count);
    return g / (exponential(-g) + T(1)) * load_some<T>(row.up + i, count);
  });
}

/// The scores of a row, and their largest.
template <class T>
T score(const AttentionRow<T>& row) {
  T largest = -__builtin_huge_val();
  T* score = row.scores;
  for (std::int64_t s = 0; s < row.segment_count; ++s) {
    const KeyValueSegment<T>& segment = row.segments[s];
    RowProduct<T, T> p{row.q, 0, 1,         row.head_dim, segment.keys, segment.positions,
                       score, 0, row.scale, false};
    product(p);
    for (std::int64_t i = 0; i < segment.positions; ++i) {
      largest = score[i] > largest ? score[i] : largest;
    }
    score += segment.positions;
  }
  return largest;
}

template <class T>
void attend(const AttentionRow<T>& row) {
  const T largest = score(row);
  std::int64_t positions = 0;
  for (std::int64_t s = 0; s < row.segment_count; ++s) positions += row.segments[s].positions;
  for_each_vec(positions, row.scores, [&](std::int64_t i, std::int64_t count) {
    return exponential(load_some<T>(row.scores + i, count) - largest);
  });
  T total = 0;
  for (std::int64_t i = 0; i < positions; ++i) total += row.scores[i];
  for_each_vec(row.head_dim, row.out, [&](std::int64_t at, std::int64_t count) {
    Vec<T> sum{};
    const T* weight = row.scores;
    for (std::int64_t s = 0; s < row.segment_count; ++s) {
      const T* value = row.segments[s].values + at;
      for (std::int64_t i = 0; i < row.segments[s].positions; ++i, value += row.head_dim) {
        sum += load_some<T>(value, count) * *weight++;
      }
    }
    return sum / total;
  });
}

constexpr RowKernels kKernels{TINKEX_KERNELS_NAME,
                              product<float, float>,
                              product<float, std::uint16_t>,
                              product<double, double>,
                              attend<float>,
                              attend<double>,
                              gate<float>,
                              gate<double>};

}  // namespace
}  // namespace tinkex::torch_ext::local
