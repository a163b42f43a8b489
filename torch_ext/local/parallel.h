#pragma once

// Loops over rows and other pieces of work, on the threads of the caller's ATen. Files that include
// this are compiled with -fopenmp, or at::parallel_for would be serial.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

namespace tinkex::torch_ext::local {

/// Multiplications that are worth a second thread: a third of a millisecond where memory is slow.
inline constexpr std::int64_t kThreadWork = std::int64_t{1} << 19;

/// What an exponential, or the memory that it waits for, costs in multiplications; and a sum.
inline constexpr std::int64_t kExponentialWork = 8;
inline constexpr std::int64_t kElementWork = 4;

/// How many pieces a thread takes at least, if one costs `work` multiplications.
inline std::int64_t grain_for(std::int64_t work) {
  return std::max<std::int64_t>(1, kThreadWork / std::max<std::int64_t>(1, work));
}

/// Calls f(row) for all rows, each of which costs `work` multiplications.
template <class F>
void for_each_row(std::int64_t rows, std::int64_t work, const F& f) {
  at::parallel_for(0, rows, grain_for(work), [&f](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) f(row);
  });
}

/// Calls f(double{}) or f(float{}), as the tensor's elements are.
template <class F>
void with_type(const at::Tensor& tensor, F&& f) {
  if (tensor.scalar_type() == at::ScalarType::Double) {
    f(double{});
  } else {
    f(float{});
  }
}

}  // namespace tinkex::torch_ext::local
