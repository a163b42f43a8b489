#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
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
      for (const std::int64_t k : {1, 3, 4, 18, 193}) all.push_back({m, n, k});
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
    kernels.float32.multiply(product);
  } else {
    kernels.float64.multiply(product);
  }
}

/// A matrix with elements between its rows that are no numbers, and nothing behind the last.
template <class T>
std::vector<T> matrix(std::int64_t rows, std::int64_t columns, std::int64_t stride, unsigned seed) {
  auto numbers = random_numbers<T>(size_of((rows - 1) * stride + columns), seed);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (static_cast<std::int64_t>(i) % stride >= columns) {
      numbers[i] = std::numeric_limits<T>::quiet_NaN();
    }
  }
  return numbers;
}

/// A product whose matrices lie in either order.
template <class T>
struct Case {
  Case(const Shape& shape_in, bool a_turned, bool b_turned) : shape(shape_in) {
    const auto& [m, n, k] = shape;
    constexpr std::int64_t kGap = 3;
    a = a_turned ? matrix<T>(k, m, m + kGap, 1) : matrix<T>(m, k, k + kGap, 1);
    b = b_turned ? matrix<T>(n, k, k + kGap, 2) : matrix<T>(k, n, n + kGap, 2);
    add = random_numbers<T>(size_of(m * (n + kGap)), 3);
    c.assign(size_of(m * (n + kGap)), kUntouched);
    product = {.m = m,
               .n = n,
               .k = k,
               .a = nullptr,
               .a_row = a_turned ? 1 : k + kGap,
               .a_column = a_turned ? m + kGap : 1,
               .b = nullptr,
               .b_row = b_turned ? 1 : n + kGap,
               .b_column = b_turned ? k + kGap : 1,
               .c = nullptr,
               .c_row = n + kGap,
               .add = nullptr,
               .add_row = 0,
               .scale = T(1),
               .workspace = nullptr};
    point();
  }
  Case(const Case& other)
      : shape(other.shape),
        a(other.a),
        b(other.b),
        add(other.add),
        c(other.c),
        product(other.product) {
    point();
  }
  Case& operator=(const Case&) = delete;
  ~Case() = default;

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

 private:
  void point() {
    product.a = a.data();
    product.b = b.data();
    product.c = c.data();
  }
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
    matrix.product.scale = -0.3F;
    Case<float> row = matrix;
    Case<float> own = matrix;
    for (Case<float>* each : {&matrix, &row, &own}) {
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
    GetParam()->multiply_bfloat16({.m = p.m,
                                   .n = p.n,
                                   .k = p.k,
                                   .a = p.a,
                                   .a_row = p.a_row,
                                   .a_column = p.a_column,
                                   .b = halves.data(),
                                   .b_row = p.b_row,
                                   .b_column = p.b_column,
                                   .c = c.data(),
                                   .c_row = p.c_row,
                                   .add = nullptr,
                                   .add_row = 0,
                                   .scale = 1,
                                   .workspace = workspace.data()});
    EXPECT_EQ(c, each.c);
  }
}

/// The last `part.m` rows and `part.n` columns of a product, alone, have the same bits.
template <class T>
void expect_part(const RowKernels& kernels, const Case<T>& whole, const Shape& part) {
  const std::int64_t row = whole.shape.m - part.m;
  const std::int64_t column = whole.shape.n - part.n;
  std::vector<T> c(size_of(part.m * part.n));
  MatrixProduct<T, T> product = whole.product;
  product.m = part.m;
  product.n = part.n;
  product.a += row * product.a_row;
  product.b += column * product.b_column;
  product.c = c.data();
  product.c_row = part.n;
  product.add = whole.add.data() + row * whole.product.add_row + column;
  run(kernels, product);
  for (std::int64_t i = 0; i < part.m; ++i) {
    for (std::int64_t j = 0; j < part.n; ++j) {
      ASSERT_EQ(c[size_of(i * part.n + j)],
                whole.c[size_of((row + i) * whole.product.c_row + column + j)]);
    }
  }
}

template <class T>
void expect_independence(const RowKernels& kernels) {
  Case<T> whole({50, 70, 600}, false, true);
  whole.product.scale = T(0.3);
  whole.product.add = whole.add.data();
  whole.product.add_row = whole.product.c_row;
  run(kernels, whole.product);
  for (const Shape& part : {Shape{1, 1, 600}, Shape{7, 33, 600}, Shape{26, 64, 600}}) {
    expect_part(kernels, whole, part);
  }
}

TEST_P(MatrixKernelsTest, AnElementIsTheSameWhateverIsComputedBesideIt) {
  expect_independence<float>(*GetParam());
  expect_independence<double>(*GetParam());
}

TEST_P(MatrixKernelsTest, ZerosBehindARowAndAColumnChangeNoBit) {
  for (const std::int64_t k : {1, 40, 192, 260}) {
    Case<float> longer({25, 33, 400}, false, false);
    for (std::int64_t i = 0; i < 25; ++i) {
      for (std::int64_t p = k; p < 400; ++p) longer.a[size_of(i * longer.product.a_row + p)] = 0;
    }
    Case<float> shorter = longer;
    shorter.product.k = k;
    run(*GetParam(), longer.product);
    run(*GetParam(), shorter.product);
    EXPECT_EQ(longer.c, shorter.c) << k;
  }
}

TEST_P(MatrixKernelsTest, NothingToSumLeavesWhatIsAdded) {
  Case<float> each({13, 33, 4}, false, false);
  each.product.k = 0;
  each.product.add = each.add.data();
  each.product.add_row = each.product.c_row;
  run(*GetParam(), each.product);
  for (std::size_t i = 0; i < each.c.size(); ++i) {
    const bool inside = static_cast<std::int64_t>(i) % each.product.c_row < 33;
    ASSERT_EQ(each.c[i], inside ? each.add[i] : Case<float>::kUntouched);
  }
}

TEST_P(MatrixKernelsTest, WhatIsNoNumberStaysInItsRowAndColumn) {
  Case<float> each({14, 40, 9}, false, true);
  each.a[size_of(3 * each.product.a_row)] = std::numeric_limits<float>::quiet_NaN();
  each.b[size_of(5 * each.product.b_column)] = std::numeric_limits<float>::quiet_NaN();
  run(*GetParam(), each.product);
  for (std::int64_t i = 0; i < 14; ++i) {
    for (std::int64_t j = 0; j < 40; ++j) {
      EXPECT_EQ(std::isnan(each.c[size_of(i * each.product.c_row + j)]), i == 3 || j == 5);
    }
  }
}

/// Against the formulas, in double.
template <class T>
void expect_softmax(const RowKernels& kernels, std::int64_t size, std::int64_t width,
                    double tolerance) {
  const auto scores = random_numbers<T>(size_of(width), 4);
  auto p = scores;
  const SoftmaxFactors<T> factors = kernels_of<T>(kernels).softmax(p.data(), size, width);
  double total = 0;
  for (std::int64_t i = 0; i < size; ++i) total += std::exp(double{scores[size_of(i)]});

  const auto out = random_numbers<T>(19, 5);
  const auto d_out = random_numbers<T>(19, 6);
  const auto d_p = random_numbers<T>(size_of(width), 7);
  auto again = scores;
  auto d = d_p;
  kernels_of<T>(kernels).softmax_gradient({.scores = again.data(),
                                           .d_scores = d.data(),
                                           .size = size,
                                           .width = width,
                                           .factors = factors,
                                           .out = out.data(),
                                           .d_out = d_out.data(),
                                           .dim = 19});
  EXPECT_EQ(again, p);
  double delta = 0;
  for (std::size_t i = 0; i < 19; ++i) delta += double{out[i]} * double{d_out[i]};
  for (std::int64_t i = 0; i < width; ++i) {
    const std::size_t at = size_of(i);
    const double expected = i < size ? std::exp(double{scores[at]}) / total : 0;
    ASSERT_NEAR(p[at], expected, tolerance) << size << " of " << width;
    ASSERT_NEAR(d[at], expected * (double{d_p[at]} - delta), 3 * tolerance * (1 + std::abs(delta)));
  }
}

TEST_P(MatrixKernelsTest, SoftmaxAndItsGradientAreThoseOfTheirFormulas) {
  for (const std::int64_t size : {1, 3, 16, 37, 64, 100}) {
    const std::int64_t whole = (size + kScoreUnit - 1) / kScoreUnit * kScoreUnit;
    for (const std::int64_t width : {whole, whole + 3 * kScoreUnit}) {
      expect_softmax<float>(*GetParam(), size, width, 1e-6);
      expect_softmax<double>(*GetParam(), size, width, 1e-14);
    }
  }
}

TEST_P(MatrixKernelsTest, PaddingOfScoresChangesNoBit) {
  auto narrow = random_numbers<float>(64, 4);
  narrow.resize(48);
  auto wide = random_numbers<float>(64, 4);
  const auto a = GetParam()->float32.softmax(narrow.data(), 40, 48);
  const auto b = GetParam()->float32.softmax(wide.data(), 40, 64);
  EXPECT_EQ(a.largest, b.largest);
  EXPECT_EQ(a.factor, b.factor);
  wide.resize(48);
  EXPECT_EQ(narrow, wide);
}

TEST_P(MatrixKernelsTest, SoftmaxOfLargeScoresIsExact) {
  std::vector<float> row{1000, -1000, 999, 0};
  row.resize(16);
  const auto factors = GetParam()->float32.softmax(row.data(), 4, 16);
  EXPECT_EQ(factors.largest, 1000);
  EXPECT_NEAR(row[0], 1 / (1 + std::exp(-1)), 1e-6);
  EXPECT_EQ(row[1], 0);  // no number next to nothing, which would be slow to multiply
  for (const float all : {-2e30F, 1e7F, 3e38F}) {
    std::vector<float> same(16, all);
    std::vector<float> again = same, nothing_here(16);
    const auto three = GetParam()->float32.softmax(same.data(), 3, 16);
    GetParam()->float32.softmax_gradient({.scores = again.data(),
                                          .d_scores = nothing_here.data(),
                                          .size = 3,
                                          .width = 16,
                                          .factors = three,
                                          .out = row.data(),
                                          .d_out = row.data(),
                                          .dim = 1});
    EXPECT_NEAR(same[2], 1 / 3.0, 1e-7) << all;
    EXPECT_EQ(same[3], 0);
    EXPECT_EQ(again, same);
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, MatrixKernelsTest, ::testing::ValuesIn(kernels_here()),
                         name_of_kernels);

}  // namespace
}  // namespace tinkex::torch_ext::local
