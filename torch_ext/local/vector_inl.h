#pragma once

// Vectors as wide as the instruction set's, for row_kernels_inl.h and what it includes.

#include <cstdint>
#include <utility>

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

/// The first `count` elements.
template <class T>
void store_some(const Vec<T>& vec, T* to, std::int64_t count) {
  // Whole vectors apart: with a size that varies each store would be a call of memcpy.
  if (count >= kVec<T>) {
    __builtin_memcpy(to, &vec, sizeof vec);
  } else {
    __builtin_memcpy(to, &vec, static_cast<std::size_t>(count) * sizeof(T));
  }
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

/// exp to float's precision: 2^n times a polynomial on [-ln(2)/2, ln(2)/2], as in Cephes' expf.
/// Below -87 it is 0, not a number next to nothing, which would be slow to go on with.
FloatVec exponential(FloatVec x) {
  const IntVec nothing = x < -87.0F;
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
  return nothing ? FloatVec{} : y * power;
}

DoubleVec exponential(DoubleVec x) {
  for (std::int64_t i = 0; i < kVec<double>; ++i) x[i] = __builtin_exp(x[i]);
  return x;
}

/// Calls `f` on vectors of the first `size` elements; the last one is filled up with zeros, and
/// what `f` returns for those is dropped. So each element is computed alike wherever it lies.
template <class T, class F>
void for_each_vec(std::int64_t size, T* out, const F& f) {
  std::int64_t i = 0;
  for (; i + kVec<T> <= size; i += kVec<T>) store_some<T>(f(i, kVec<T>), out + i, kVec<T>);
  if (i < size) store_some<T>(f(i, size - i), out + i, size - i);
}

}  // namespace
}  // namespace tinkex::torch_ext::local
