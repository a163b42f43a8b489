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
/// How many rows of w ahead of the tile memory is asked for.
constexpr int kAhead = 8;

template <class T>
Vec<T> load(const T* from) {
  Vec<T> vec;
  __builtin_memcpy(&vec, from, sizeof vec);
  return vec;
}

/// `count` elements, and zeros for the rest.
template <class T>
Vec<T> load_some(const T* from, std::int64_t count) {
  if (count >= kVec<T>) return load(from);
  T filled[kVec<T>] = {};
  __builtin_memcpy(filled, from, static_cast<std::size_t>(count) * sizeof(T));
  return load(static_cast<const T*>(filled));
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

template <class T>
void gate_gradient(const GatedRowGradient<T>& row) {
  for (std::int64_t i = 0; i < row.size; i += kVec<T>) {
    const std::int64_t count = row.size - i < kVec<T> ? row.size - i : kVec<T>;
    const Vec<T> g = load_some<T>(row.gate + i, count);
    const Vec<T> d = load_some<T>(row.d_out + i, count);
    const Vec<T> sigmoid = T(1) / (exponential(-g) + T(1));
    const Vec<T> d_gate =
        d * load_some<T>(row.up + i, count) * sigmoid * ((T(1) - sigmoid) * g + T(1));
    const Vec<T> d_up = d * g * sigmoid;
    __builtin_memcpy(row.d_gate + i, &d_gate, static_cast<std::size_t>(count) * sizeof(T));
    __builtin_memcpy(row.d_up + i, &d_up, static_cast<std::size_t>(count) * sizeof(T));
  }
}

template <class T>
T largest_of(const T* row, std::int64_t size) {
  T largest = -__builtin_huge_val();
  Vec<T> lanes = Vec<T>{} + largest;
  std::int64_t i = 0;
  for (; i + kVec<T> <= size; i += kVec<T>) {
    const Vec<T> vec = load(row + i);
    lanes = vec > lanes ? vec : lanes;
  }
  for (std::int64_t lane = 0; lane < kVec<T>; ++lane) {
    largest = lanes[lane] > largest ? lanes[lane] : largest;
  }
  for (; i < size; ++i) largest = row[i] > largest ? row[i] : largest;
  return largest;
}

/// Sum of exp(row[i] - largest). Vectors are summed in float a block at a time, blocks in double.
template <class T>
double sum_of_exponentials(const T* row, std::int64_t size, T largest) {
  constexpr std::int64_t kBlock = 64 * kVec<T>;
  const Vec<T> nothing = Vec<T>{} - T(1e4);  // exp of it is 0, or next to it
  double total = 0;
  for (std::int64_t first = 0; first < size; first += kBlock) {
    const std::int64_t end = first + kBlock < size ? first + kBlock : size;
    Vec<T> sum{};
    for (std::int64_t i = first; i < end; i += kVec<T>) {
      Vec<T> x = load_some<T>(row + i, size - i) - largest;
      if (size - i < kVec<T>) {
        Vec<T> filled = nothing;
        __builtin_memcpy(&filled, &x, static_cast<std::size_t>(size - i) * sizeof(T));
        x = filled;
      }
      sum += exponential(x);
    }
    total += static_cast<double>(sum_of<T>(sum));
  }
  return total;
}

template <class T>
void log_softmax(T* row, std::int64_t size) {
  const T largest = largest_of(row, size);
  const double sum = sum_of_exponentials(row, size, largest);
  // One after the other: their sum would lose the digits of the logarithm beside large logits.
  const T log_sum = static_cast<T>(__builtin_log(sum));
  for_each_vec(size, row, [&](std::int64_t i, std::int64_t count) {
    return (load_some<T>(row + i, count) - largest) - log_sum;
  });
}

template <class T>
void scaled_exp(T* row, std::int64_t size, T factor) {
  for_each_vec(size, row, [&](std::int64_t i, std::int64_t count) {
    return exponential(load_some<T>(row + i, count)) * factor;
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
                              gate<double>,
                              gate_gradient<float>,
                              gate_gradient<double>,
                              log_softmax<float>,
                              log_softmax<double>,
                              scaled_exp<float>,
                              scaled_exp<double>};

}  // namespace
}  // namespace tinkex::torch_ext::local
