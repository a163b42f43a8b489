#include "torch_ext/local/matrix_product.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <vector>

namespace tinkex::torch_ext::local {
namespace {

class MatrixProductTest : public ::testing::Test {
 protected:
  void SetUp() override { at::manual_seed(1); }
  void TearDown() override { at::set_num_threads(before_); }

 private:
  int before_ = at::get_num_threads();
};

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

TEST_F(MatrixProductTest, EveryOrderAndTypeIsThatOfLibTorch) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const double tolerance = dtype == at::kFloat ? 2e-4 : 1e-12;
    const at::Tensor a = at::randn({40, 90}, dtype);
    const at::Tensor b = at::randn({90, 70}, dtype);
    const at::Tensor add = at::randn({40, 70}, dtype);
    const at::Tensor bias = at::randn({70}, dtype);
    at::Tensor wide = at::zeros({40, 100}, dtype);
    const at::Tensor c = wide.narrow(1, 10, 70);
    matrix_product(c, a, b);
    EXPECT_LT(largest_difference(c, at::mm(a, b)), tolerance);
    matrix_product(c, a.t().contiguous().t(), b.t().contiguous().t(), add, 0.5);
    EXPECT_LT(largest_difference(c, at::addmm(add, a, b, 1, 0.5)), tolerance);
    matrix_product(c, a, b, bias);
    EXPECT_LT(largest_difference(c, at::addmm(bias, a, b)), tolerance);
    matrix_product(c, a, b, c, -1);
    EXPECT_LT(largest_difference(c, bias.expand({40, 70})), tolerance);
    EXPECT_EQ(wide.narrow(1, 0, 10).abs().sum().item<double>(), 0);
    EXPECT_EQ(wide.narrow(1, 80, 20).abs().sum().item<double>(), 0);
  }
}

TEST_F(MatrixProductTest, Bfloat16IsMultipliedAsTheFloatsThatItStandsFor) {
  const at::Tensor a = at::randn({20, 90});
  const at::Tensor b = at::randn({70, 90}).to(at::kBFloat16);
  const at::Tensor c = at::empty({20, 70});
  const at::Tensor expected = at::empty({20, 70});
  matrix_product(c, a, b.t());
  matrix_product(expected, a, b.to(at::kFloat).t());
  EXPECT_TRUE(at::equal(c, expected));
}

/// Large enough for six parts, in rows, in columns, and in both.
TEST_F(MatrixProductTest, ThreadsChangeNoBit) {
  struct Shape {
    std::int64_t m, n, k;
  };
  for (const auto& [m, n, k] : {Shape{300, 700, 90}, Shape{13, 3000, 400}, Shape{700, 20, 700}}) {
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor a = at::randn({m, k});
      const at::Tensor b = at::randn({n, k}).to(dtype).t();
      const at::Tensor start = at::randn({m, n});
      const at::Tensor bias = at::randn({n});
      at::set_num_threads(1);
      const at::Tensor alone = start.clone();
      const at::Tensor biased = at::empty({m, n});
      matrix_product(alone, a, b, alone, 0.3);
      matrix_product(biased, a, b, bias);
      for (const int threads : {2, 3, 4, 6}) {
        at::set_num_threads(threads);
        const at::Tensor c = start.clone();
        matrix_product(c, a, b, c, 0.3);
        EXPECT_TRUE(at::equal(c, alone)) << threads;
        matrix_product(c, a, b, bias);
        EXPECT_TRUE(at::equal(c, biased)) << threads;
      }
    }
  }
}

TEST_F(MatrixProductTest, NothingTimesSomethingIsNothing) {
  matrix_product(at::empty({0, 40}), at::empty({0, 90}), at::randn({90, 40}));
  matrix_product(at::empty({40, 0}), at::randn({40, 90}), at::empty({90, 0}));
  const at::Tensor sums = at::ones({4, 5});
  matrix_product(sums, at::empty({4, 0}), at::empty({0, 5}));
  EXPECT_EQ(sums.abs().sum().item<double>(), 0);
}

TEST_F(MatrixProductTest, WhatIsAddedMustFit) {
  const at::Tensor a = at::randn({4, 5});
  const at::Tensor b = at::randn({5, 6});
  const at::Tensor c = at::empty({4, 6});
  EXPECT_THROW(matrix_product(c, a, b, at::zeros({1, 6})), c10::Error);
  EXPECT_THROW(matrix_product(c, a, b, at::zeros({6, 4}).t()), c10::Error);
  EXPECT_THROW(matrix_product(c, a, at::randn({4, 6})), c10::Error);
}

}  // namespace
}  // namespace tinkex::torch_ext::local
