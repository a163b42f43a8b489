#pragma once

// Included by one source file per instruction set, which is compiled with flags of its own and
// defines TINKEX_VECTOR_BYTES, TINKEX_TILE_OUTS and TINKEX_PANEL_ROWS. Everything here, and in what
// is included here, has internal linkage and calls no inline function of a library: the linker
// might take such a function's copy from this file and run its instructions on a machine that lacks
// them.

#include <cstdint>

#include "torch_ext/local/elementwise_inl.h"
#include "torch_ext/local/matrix_product_inl.h"
#include "torch_ext/local/row_kernels.h"
#include "torch_ext/local/vector_inl.h"

namespace tinkex::torch_ext::local {
namespace {

/// Rows of x that one tile computes at most.
constexpr int kTileRows = 4;
/// How many rows of w ahead of the tile memory is asked for.
constexpr int kAhead = 8;

/// Vectors of T that one vector's worth of W gives.
template <class T, class W>
constexpr int kPieces = sizeof(T) / sizeof(W);

template <class T>
void load_weights(const T* from, Vec<T>* to) {
  to[0] = load(from);
}

/// Two vectors from one of bfloat16: the elements of even index, then those of odd index. A shift
/// and a mask widen them, where taking them in order would cost shuffles.
void load_weights(const std::uint16_t* from, FloatVec* to) {
  IntVec pairs;
  __builtin_memcpy(&pairs, from, sizeof pairs);
  const IntVec even = pairs << 16;
  const IntVec odd = pairs & static_cast<std::int32_t>(0xFFFF0000U);
  __builtin_memcpy(to, &even, sizeof even);
  __builtin_memcpy(to + 1, &odd, sizeof odd);
}

template <int First, int... Lane>
FloatVec every_second(const FloatVec& a, const FloatVec& b,
                      std::integer_sequence<int, Lane...> /*lanes*/) {
  return __builtin_shufflevector(a, b, (2 * Lane + First)...);
}

/// The elements of x that meet those of load_weights.
template <class W, class T>
void load_inputs(const T* from, Vec<T>* to) {
  if constexpr (kPieces<T, W> == 1) {
    to[0] = load(from);
  } else {
    using Lanes = std::make_integer_sequence<int, static_cast<int>(kVec<T>)>;
    const Vec<T> low = load(from);
    const Vec<T> high = load(from + kVec<T>);
    to[0] = every_second<0>(low, high, Lanes{});
    to[1] = every_second<1>(low, high, Lanes{});
  }
}

/// Adds the products of a vector's worth of elements.
template <int R, int C, class T, class W>
[[gnu::always_inline]] inline void add_products(Vec<T> (&sums)[R][C], const T* x,
                                                std::int64_t x_stride, const W* w,
                                                std::int64_t w_stride) {
  constexpr int kCount = kPieces<T, W>;
  Vec<T> a[R][kCount];
  for (int r = 0; r < R; ++r) load_inputs<W>(x + r * x_stride, a[r]);
  for (int c = 0; c < C; ++c) {
    Vec<T> b[kCount];
    load_weights(w + c * w_stride, b);
    for (int r = 0; r < R; ++r) {
      for (int i = 0; i < kCount; ++i) sums[r][c] += a[r][i] * b[i];
    }
  }
}

/// The last elements, filled up with zeros, so that every element is computed by the same steps.
template <int R, int C, class T, class W>
void add_last_products(Vec<T> (&sums)[R][C], const T* x, std::int64_t x_stride, const W* w,
                       std::int64_t w_stride, std::int64_t count) {
  constexpr std::int64_t kStep = kVec<T> * kPieces<T, W>;
  T last_x[R][kStep] = {};
  W last_w[C][kStep] = {};
  const auto left = static_cast<std::size_t>(count);
  for (int r = 0; r < R; ++r) __builtin_memcpy(last_x[r], x + r * x_stride, left * sizeof(T));
  for (int c = 0; c < C; ++c) __builtin_memcpy(last_w[c], w + c * w_stride, left * sizeof(W));
  add_products<R, C, T, W>(sums, last_x[0], kStep, last_w[0], kStep);
}

/// R rows of x with C rows of w. One accumulator per element, whatever R and C are.
template <int R, int C, class T, class W>
void tile(const RowProduct<T, W>& p, std::int64_t row, std::int64_t out) {
  constexpr std::int64_t kStep = kVec<T> * kPieces<T, W>;
  const T* x = p.x + row * p.x_stride;
  const W* w = p.w + out * p.in;
  Vec<T> sums[R][C] = {};
  std::int64_t k = 0;
  for (; k + kStep <= p.in; k += kStep) {
    // Several rows of w at a time are no pattern that the processor sees: what the next tiles read
    // is asked for.
    if (C > 1 && row == 0) {
      for (int c = 0; c < C; ++c) __builtin_prefetch(w + (kAhead + c) * p.in + k);
    }
    add_products<R, C, T, W>(sums, x + k, p.x_stride, w + k, p.in);
  }
  if (k < p.in) {
    add_last_products<R, C, T, W>(sums, x + k, p.x_stride, w + k, p.in, p.in - k);
  }
  for (int r = 0; r < R; ++r) {
    for (int c = 0; c < C; ++c) {
      const T sum = sum_of<T>(sums[r][c]);
      T& y = p.y[(row + r) * p.y_stride + out + c];
      // Never both: some tiles would multiply and add in one step, others in two.
      y = p.add ? y + sum : p.scale * sum;
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
  // Few rows wait for memory, which is fastest where it is read in order; more of them wait for
  // arithmetic, for which w must be used again while it is in registers.
  constexpr std::int64_t kFew = kPieces<T, W> == 1 ? 4 : 2;
  std::int64_t out = 0;
  if (p.rows > kFew) {
    for (; out + TINKEX_TILE_OUTS <= p.outs; out += TINKEX_TILE_OUTS) {
      columns<TINKEX_TILE_OUTS>(p, out);
    }
  }
  for (; out < p.outs; ++out) columns<1>(p, out);
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

template <class T>
constexpr KernelsOf<T> kKernelsOf{.product = product<T, T>,
                                  .attend = attend<T>,
                                  .gate = gate<T>,
                                  .gate_gradient = gate_gradient<T>,
                                  .log_softmax = log_softmax<T>,
                                  .scaled_exp = scaled_exp<T>,
                                  .softmax = softmax<T>,
                                  .softmax_gradient = softmax_gradient<T>,
                                  .multiply = multiply<T, T>};

constexpr RowKernels kKernels{.name = TINKEX_KERNELS_NAME,
                              .float32 = kKernelsOf<float>,
                              .float64 = kKernelsOf<double>,
                              .product_bfloat16 = product<float, std::uint16_t>,
                              .multiply_bfloat16 = multiply<float, std::uint16_t>};

}  // namespace
}  // namespace tinkex::torch_ext::local
