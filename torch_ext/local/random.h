#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace tinkex::torch_ext::local {

/// A stream of random numbers in which any number can be had by its position (Philox 4x32-10), so
/// that results depend on no order of calls and on no library version. A value; thread-safe.
class RandomStream {
 public:
  explicit RandomStream(std::uint64_t key, std::uint64_t lane = 0) : key_(key), lane_(lane) {}
  /// The stream of something that has a name: other names and seeds give unrelated streams.
  static RandomStream named(std::uint64_t seed, std::string_view name);

  /// Four 32-bit numbers: block `counter` of the stream.
  std::array<std::uint32_t, 4> block(std::uint64_t counter) const;
  /// In [0, 1), with 53 random bits: number `index` of the stream.
  double uniform(std::uint64_t index) const;

 private:
  std::uint64_t key_;
  std::uint64_t lane_;
};

/// Fills a contiguous float32 or float64 tensor with normal numbers of mean 0. Both types get the
/// same numbers, up to rounding.
void fill_normal(const at::Tensor& tensor, RandomStream stream, double std);
/// The same with numbers from [-bound, bound).
void fill_uniform(const at::Tensor& tensor, RandomStream stream, double bound);

/// A seed that no earlier run had, from the operating system.
std::uint64_t fresh_seed();

}  // namespace tinkex::torch_ext::local
