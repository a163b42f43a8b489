#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "tests/torch_ext/local/kernel_testing.h"

namespace tinkex::torch_ext::local {
namespace {

class MatrixKernelsTest : public ::testing::TestWithParam<const RowKernels*> {};

struct Shape {
  std::int64_t m, n, k;
};

/// Around the sizes of panels and of blocks.
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const std::int64_t m : {1, 5, 6, 12, 13, 25}) {
    for (const std::int64_t n : {1, 7, 8, 16, 31, 32, 33, 65}) {
      for (const std::int64_t k : {1, 3, 4, 18, 257}) all.push_back({m, n, k});
    }
  }
  for (const Shape& large : {Shape{191, 33, 513}, Shape{193, 40, 20}, Shape{3, 1025, 260}}) {
    all.push_back(large);
  }
  return all;
}

std::size_t size_of(std::int64_t count) { return static_cast<std::size_t>(count); }

template <class T>
void run(const RowKernels& kernels, MatrixProduct<T, T> product) {
  std::vector<T> workspace(size_of(kMatrixWorkspace), std::numeric_limits<T>::quiet_NaN());
  product.workspace = workspace.data();
  if constexpr (std::is_same_v<T, float>) {
    kernels.multiply_float(product);
  } else {
    kernels.multiply_double(product);
  }
}

/// A product whose matrices lie in either order, with unused elements between rows.
template <class T>
struct Case {
  Case(const Shape& shape_in, bool a_turned, bool b_turned) : shape(shape_in) {
    const auto& [m, n, k] = shape;
    constexpr std::int64_t kGap = 3;
    a = random_numbers<T>(size_of((m + kGap) * (k + kGap)), 1);
    b = random_numbers<T>(size_of((n + kGap) * (k + kGap)), 2);
    add = random_numbers<T>(size_of(m * (n + kGap)), 3);
    c.assign(size_of(m * (n + kGap)), kUntouched);
    product = {m,
               n,
               k,
               a.data(),
               a_turned ? 1 : k + kGap,
               a_turned ? m + kGap : 1,
               b.data(),
               b_turned ? 1 : n + kGap,
               b_turned ? k + kGap : 1,
               c.data(),
               n + kGap,
               nullptr,
               0,
               T(1),
               nullptr};
  }

  double sum(std::int64_t i, std::int64_t j) const {
    double result = 0;
    for (std::int64_t p = 0; p < shape.k; ++p) {
      result += double{a[size_of(i * product.a_row + p * product.a_column)]} *
                double{b[size_of(p * product.b_row + j * product.b_column)]};
    }
    return result;
  }

  /// c = scale * a b + `added`(i, j), and what lies between its rows as it was.
  template <class F>
  void expect(double tolerance, const F& added) const {
    for (std::int64_t i = 0; i < shape.m; ++i) {
      for (std::int64_t j = 0; j < product.c_row; ++j) {
        const T got = c[size_of(i * product.c_row + j)];
        if (j >= shape.n) {
          ASSERT_EQ(got, kUntouched);
          continue;
        }
        const double scale = std::sqrt(static_cast<double>(shape.k));
        ASSERT_NEAR(got, double{product.scale} * sum(i, j) + added(i, j), tolerance * scale)
            << "(" << i << ", " << j << ") of " << shape.m << " x " << shape.n << " x " << shape.k;
      }
    }
  }

  static constexpr T kUntouched = T(-0.75);
  Shape shape;
  std::vector<T> a, b, add, c;
  MatrixProduct<T, T> product{};
};

constexpr double nothing(std::int64_t /*i*/, std::int64_t /*j*/) { return 0; }

TEST_P(MatrixKernelsTest, ProductsOfAllShapesAndOrdersAreRight) {
  for (const Shape& shape : shapes()) {
    for (const int order : {0, 1, 2, 3}) {
      Case<float> each(shape, (order & 1) != 0, (order & 2) != 0);
      run(*GetParam(), each.product);
      each.expect(3e-6, nothing);
    }
  }
}

TEST_P(MatrixKernelsTest, ProductsInDoubleAreRight) {
  for (const Shape& shape : {Shape{1, 1, 1}, Shape{25, 33, 257}, Shape{13, 8, 18}}) {
    for (const int order : {0, 1, 2, 3}) {
      Case<double> each(shape, (order & 1) != 0, (order & 2) != 0);
      run(*GetParam(), each.product);
      each.expect(1e-14, nothing);
    }
  }
}

TEST_P(MatrixKernelsTest, AMatrixARowOrWhatIsThereIsAdded) {
  for (const Shape& shape : shapes()) {
    Case<float> matrix(shape, false, true);
    matrix.product.scale = -0.5F;
    Case<float> row = matrix;
    Case<float> own = matrix;
    for (Case<float>* each : {&matrix, &row, &own}) {
      each->product.a = each->a.data();
      each->product.b = each->b.data();
      each->product.c = each->c.data();
      each->product.add = each == &own ? each->c.data() : each->add.data();
      each->product.add_row = each == &row ? 0 : each->product.c_row;
      run(*GetParam(), each->product);
    }
    const std::int64_t stride = matrix.product.c_row;
    matrix.expect(3e-6,
                  [&](auto i, auto j) { return double{matrix.add[size_of(i * stride + j)]}; });
    row.expect(3e-6, [&](auto /*i*/, auto j) { return double{row.add[size_of(j)]}; });
    own.expect(3e-6, [&](auto /*i*/, auto /*j*/) { return double{Case<float>::kUntouched}; });
  }
}

TEST_P(MatrixKernelsTest, HalvesGiveTheBitsOfTheFloatsThatTheyStandFor) {
  for (const int order : {0, 2}) {
    Case<float> each({25, 70, 259}, false, order != 0);
    std::vector<std::uint16_t> halves(each.b.size());
    for (std::size_t i = 0; i < halves.size(); ++i) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, &each.b[i], sizeof bits);
      halves[i] = static_cast<std::uint16_t>(bits >> 16U);
      bits = bits >> 16U << 16U;
      std::memcpy(&each.b[i], &bits, sizeof bits);
    }
    run(*GetParam(), each.product);
    std::vector<float> c(each.c.size(), Case<float>::kUntouched);
    std::vector<float> workspace(size_of(kMatrixWorkspace));
    const MatrixProduct<float, float>& p = each.product;
    GetParam()->multiply_bfloat16({p.m, p.n, p.k, p.a, p.a_row, p.a_column, halves.data(), p.b_row,
                                   p.b_column, c.data(), p.c_row, nullptr, 0, 1, workspace.data()});
    EXPECT_EQ(c, each.c);
  }
}

TEST_P(MatrixKernelsTest, AnElementIsTheSameWhateverIsComputedBesideIt) {
  Case<float> whole({50, 70, 600}, false, true);
  run(*GetParam(), whole.product);
  for (const Shape& part : {Shape{1, 1, 600}, Shape{7, 33, 600}, Shape{26, 64, 600}}) {
    const std::int64_t row = 50 - part.m;
    const std::int64_t column = 70 - part.n;
    std::vector<float> c(size_of(part.m * part.n));
    MatrixProduct<float, float> product = whole.product;
    product.m = part.m;
    product.n = part.n;
    product.a += row * product.a_row;
    product.b += column * product.b_column;
    product.c = c.data();
    product.c_row = part.n;
    run(*GetParam(), product);
    for (std::int64_t i = 0; i < part.m; ++i) {
      for (std::int64_t j = 0; j < part.n; ++j) {
        ASSERT_EQ(c[size_of(i * part.n + j)],
                  whole.c[size_of((row + i) * whole.product.c_row + column + j)]);
      }
    }
  }
}

TEST_P(MatrixKernelsTest, WhatIsNoNumberStaysInItsRowAndColumn) {
  Case<float> each({14, 40, 9}, false, true);
  each.a[size_of(3 * each.product.a_row)] = std::numeric_limits<float>::quiet_NaN();
  run(*GetParam(), each.product);
  for (std::int64_t i = 0; i < 14; ++i) {
    for (std::int64_t j = 0; j < 40; ++j) {
      EXPECT_EQ(std::isnan(each.c[size_of(i * each.product.c_row + j)]), i == 3);
    }
  }
}

TEST_P(MatrixKernelsTest, SoftmaxAndItsGradientAreThoseOfTheirFormulas) {
  for (const std::int64_t size : {1, 3, 16, 37, 64, 100}) {
    for (const std::int64_t width : {size, size + 1, size + 40}) {
      const auto scores = random_numbers<float>(size_of(width), 4);
      auto p = scores;
      const float logsumexp = GetParam()->softmax_float(p.data(), size, width);
      double total = 0;
      for (std::int64_t i = 0; i < size; ++i) total += std::exp(double{scores[size_of(i)]});
      EXPECT_NEAR(logsumexp, std::log(total), 1e-6);

      const auto out = random_numbers<float>(19, 5);
      const auto d_out = random_numbers<float>(19, 6);
      const auto d_p = random_numbers<float>(size_of(width), 7);
      auto again = scores;
      auto d = d_p;
      GetParam()->softmax_gradient_float(
          {again.data(), d.data(), size, width, logsumexp, out.data(), d_out.data(), 19});
      double delta = 0;
      for (std::size_t i = 0; i < 19; ++i) delta += double{out[i]} * double{d_out[i]};
      for (std::int64_t i = 0; i < width; ++i) {
        const std::size_t at = size_of(i);
        const double expected = i < size ? std::exp(double{scores[at]}) / total : 0;
        ASSERT_NEAR(p[at], expected, 1e-6);
        ASSERT_NEAR(again[at], expected, 1e-6);
        ASSERT_NEAR(d[at], expected * (double{d_p[at]} - delta), 3e-6 * (1 + std::abs(delta)));
      }
    }
  }
}

TEST_P(MatrixKernelsTest, SoftmaxOfLargeScoresIsFinite) {
  std::vector<float> row{1000, -1000, 999, 0};
  EXPECT_NEAR(GetParam()->softmax_float(row.data(), 4, 4), 1000 + std::log1p(std::exp(-1)), 1e-4);
  EXPECT_NEAR(row[0], 1 / (1 + std::exp(-1)), 1e-6);
  EXPECT_NEAR(row[1], 0, 1e-30);
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, MatrixKernelsTest, ::testing::ValuesIn(kernels_here()),
                         name_of_kernels);

}  // namespace
}  // namespace tinkex::torch_ext::local
