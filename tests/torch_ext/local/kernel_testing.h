#pragma once

// What tests of single kernels share.

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "torch_ext/local/row_kernels.h"

namespace tinkex::torch_ext::local {

template <class T>
std::vector<T> random_numbers(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<T> normal;
  std::vector<T> numbers(count);
  for (T& each : numbers) each = normal(random);
  return numbers;
}

/// The instruction sets that this machine has.
inline std::vector<const RowKernels*> kernels_here() {
  std::vector<const RowKernels*> all{baseline_row_kernels()};
  const std::string fastest = row_kernels().name;
  if (fastest == "avx2" || fastest == "avx512") all.push_back(avx2_row_kernels());
  if (fastest == "avx512") all.push_back(avx512_row_kernels());
  return all;
}

inline std::string name_of_kernels(const ::testing::TestParamInfo<const RowKernels*>& info) {
  return info.param->name;
}

}  // namespace tinkex::torch_ext::local
