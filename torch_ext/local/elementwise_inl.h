#pragma once

// What is done to rows element by element, and softmax. See row_kernels_inl.h.

#include <cstdint>

#include "torch_ext/local/row_kernels.h"
#include "torch_ext/local/vector_inl.h"

namespace tinkex::torch_ext::local {
namespace {

template <class T>
void gate(const GatedRow<T>& row) {
  for_each_vec(row.size, row.out, [&](std::int64_t i, std::int64_t count) {
    const Vec<T> g = load_some<T>(row.gate + i, count);
    return g / (exponential(-g) + T(1)) * load_some<T>(row.up + i, count);
  });
}

template <class T>
void gate_gradient(const GatedRowGradient<T>& row) {
  for_each_vec(row.size, row.d_gate, [&](std::int64_t i, std::int64_t count) {
    const Vec<T> g = load_some<T>(row.gate + i, count);
    const Vec<T> d = load_some<T>(row.d_out + i, count);
    const Vec<T> sigmoid = T(1) / (exponential(-g) + T(1));
    const Vec<T> d_up = d * g * sigmoid;
    store_some<T>(d_up, row.d_up + i, count);
    return d * load_some<T>(row.up + i, count) * sigmoid * ((T(1) - sigmoid) * g + T(1));
  });
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

template <class T>
void clear(T* row, std::int64_t begin, std::int64_t end) {
  __builtin_memset(row + begin, 0, static_cast<std::size_t>(end - begin) * sizeof(T));
}

/// Fills the last vector of the first `size` elements with numbers whose exponential is next to
/// nothing; gives the size that it is then.
template <class T>
std::int64_t fill_up(T* row, std::int64_t size) {
  const std::int64_t whole = (size + kVec<T> - 1) / kVec<T> * kVec<T>;
  for (std::int64_t i = size; i < whole; ++i) row[i] = -static_cast<T>(__builtin_huge_val());
  return whole;
}

template <class T>
SoftmaxFactors<T> softmax(T* row, std::int64_t size, std::int64_t width) {
  const T largest = largest_of(row, size);
  const std::int64_t filled = fill_up(row, size);
  Vec<T> lanes{};
  for (std::int64_t i = 0; i < filled; i += kVec<T>) {
    const Vec<T> e = exponential(load(row + i) - largest);
    lanes += e;
    store_some<T>(e, row + i, kVec<T>);
  }
  const T factor = 1 / sum_of<T>(lanes);
  for (std::int64_t i = 0; i < filled; i += kVec<T>) {
    store_some<T>(load(row + i) * factor, row + i, kVec<T>);
  }
  clear(row, size, width);
  return {largest, factor};
}

template <class T>
void softmax_gradient(const SoftmaxGradientRow<T>& row) {
  Vec<T> products{};
  for (std::int64_t i = 0; i < row.dim; i += kVec<T>) {
    products += load_some<T>(row.out + i, row.dim - i) * load_some<T>(row.d_out + i, row.dim - i);
  }
  const T sum = sum_of<T>(products);
  const std::int64_t filled = fill_up(row.scores, row.size);
  for (std::int64_t i = 0; i < filled; i += kVec<T>) {
    const Vec<T> p = exponential(load(row.scores + i) - row.factors.largest) * row.factors.factor;
    store_some<T>(p, row.scores + i, kVec<T>);
    store_some<T>(p * (load(row.d_scores + i) - sum), row.d_scores + i, kVec<T>);
  }
  clear(row.scores, row.size, row.width);
  clear(row.d_scores, row.size, row.width);
}

}  // namespace
}  // namespace tinkex::torch_ext::local
