#include <cmath>
#include <cstring>
#include <vector>

#include "tests/torch_ext/local/kernel_testing.h"

namespace tinkex::torch_ext::local {
namespace {

class RowKernelsTest : public ::testing::TestWithParam<const RowKernels*> {};

struct Shape {
  std::int64_t rows, in, outs;
};
std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const std::int64_t rows : {1, 2, 3, 4, 5, 8, 11}) {
    for (const std::int64_t in : {1, 7, 16, 33, 100}) {
      for (const std::int64_t outs : {1, 3, 8, 17, 40}) all.push_back({rows, in, outs});
    }
  }
  return all;
}

TEST_P(RowKernelsTest, ProductIsTheSumOfProducts) {
  for (const auto& [rows, in, outs] : shapes()) {
    const std::int64_t stride = in + 3;
    const auto x = random_numbers<float>(static_cast<std::size_t>(rows * stride), 1);
    const auto w = random_numbers<float>(static_cast<std::size_t>(outs * in), 2);
    std::vector<float> y(static_cast<std::size_t>(rows * outs), 0.25F);
    std::vector<float> scaled(y.size());
    GetParam()->float32.product(
        {x.data(), stride, rows, in, w.data(), outs, y.data(), outs, 1, true});
    GetParam()->float32.product(
        {x.data(), stride, rows, in, w.data(), outs, scaled.data(), outs, 0.5F, false});
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t o = 0; o < outs; ++o) {
        double sum = 0;
        for (std::int64_t k = 0; k < in; ++k) {
          sum += double{x[static_cast<std::size_t>(r * stride + k)]} *
                 double{w[static_cast<std::size_t>(o * in + k)]};
        }
        const auto at = static_cast<std::size_t>(r * outs + o);
        ASSERT_NEAR(y[at], 0.25 + sum, 4e-5) << rows << " x " << in << " x " << outs;
        ASSERT_NEAR(scaled[at], 0.5 * sum, 2e-5) << rows << " x " << in << " x " << outs;
      }
    }
  }
}

/// Calls `product(rows of x, first row, first of w, outs, y)` for all rows at once and for each row
/// alone, the latter in two halves, as two threads share the work.
template <class Product>
void expect_the_same_bits(const Shape& shape, const Product& product) {
  const auto [rows, in, outs] = shape;
  std::vector<float> together(static_cast<std::size_t>(rows * outs), 0.75F);
  product(rows, 0, 0, outs, together.data());
  for (std::int64_t r = 0; r < rows; ++r) {
    std::vector<float> alone(static_cast<std::size_t>(outs), 0.75F);
    const std::int64_t half = outs / 2;
    product(1, r, 0, half, alone.data());
    product(1, r, half, outs - half, alone.data() + half);
    ASSERT_EQ(std::memcmp(alone.data(), together.data() + r * outs, alone.size() * 4), 0)
        << "row " << r << " of " << rows << " x " << in << " x " << outs;
  }
}

TEST_P(RowKernelsTest, RowGetsTheSameBitsAloneAndAmongOthers) {
  for (const Shape& shape : shapes()) {
    const std::int64_t in = shape.in;
    const std::int64_t outs = shape.outs;
    const auto x = random_numbers<float>(static_cast<std::size_t>(shape.rows * in), 3);
    const auto w = random_numbers<float>(static_cast<std::size_t>(outs * in), 4);
    std::vector<std::uint16_t> halves(w.size());
    for (std::size_t i = 0; i < w.size(); ++i) {
      std::uint32_t bits;
      std::memcpy(&bits, &w[i], 4);
      halves[i] = static_cast<std::uint16_t>(bits >> 16);
    }
    for (const bool add : {false, true}) {
      expect_the_same_bits(shape, [&](auto rows, auto row, auto first, auto count, float* y) {
        GetParam()->float32.product({x.data() + row * in, in, rows, in, w.data() + first * in,
                                     count, y, outs, 2.667F, add});
      });
      expect_the_same_bits(shape, [&](auto rows, auto row, auto first, auto count, float* y) {
        GetParam()->product_bfloat16({x.data() + row * in, in, rows, in, halves.data() + first * in,
                                      count, y, outs, 2.667F, add});
      });
    }
  }
}

TEST_P(RowKernelsTest, Bfloat16WeightsAreWidenedExactly) {
  const auto x = random_numbers<float>(3 * 50, 5);
  const auto numbers = random_numbers<float>(20 * 50, 6);
  std::vector<std::uint16_t> halves(numbers.size());
  std::vector<float> widened(numbers.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, &numbers[i], 4);
    bits &= 0xffff0000U;
    halves[i] = static_cast<std::uint16_t>(bits >> 16);
    std::memcpy(&widened[i], &bits, 4);
  }
  std::vector<float> y(60), expected(60);
  GetParam()->product_bfloat16({x.data(), 50, 3, 50, halves.data(), 20, y.data(), 20, 1, false});
  GetParam()->float32.product(
      {x.data(), 50, 3, 50, widened.data(), 20, expected.data(), 20, 1, false});
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], expected[i], 2e-5);
  // A single one among zeros picks out a weight.
  for (std::size_t k = 0; k < 50; ++k) {
    std::vector<float> one(50);
    one[k] = 1;
    std::vector<float> picked(20);
    GetParam()->product_bfloat16(
        {one.data(), 50, 1, 50, halves.data(), 20, picked.data(), 20, 1, false});
    for (std::size_t out = 0; out < 20; ++out) EXPECT_EQ(picked[out], widened[out * 50 + k]);
  }
}

TEST_P(RowKernelsTest, LogSoftmaxIsThatOfDouble) {
  for (const std::size_t size : {1U, 5U, 16U, 37U, 3000U}) {
    for (const float shift : {-300.0F, 0.0F, 50.0F, 1e5F}) {
      std::vector<float> row = random_numbers<float>(size, 7);
      double sum = 0;
      for (float& x : row) sum += std::exp(double{x += shift} - double{shift});
      std::vector<float> result = row;
      GetParam()->float32.log_softmax(result.data(), static_cast<std::int64_t>(size));
      for (std::size_t i = 0; i < size; ++i) {
        ASSERT_NEAR(result[i], double{row[i]} - double{shift} - std::log(sum), 4e-6)
            << size << " " << i;
      }
    }
  }
}

TEST_P(RowKernelsTest, LogSoftmaxOfWhatIsNotFiniteIsNotFinite) {
  for (const float bad : {NAN, INFINITY}) {
    std::vector<float> row = random_numbers<float>(40, 8);
    row[37] = bad;
    GetParam()->float32.log_softmax(row.data(), 40);
    EXPECT_FALSE(std::isfinite(row[0]));
  }
}

TEST_P(RowKernelsTest, ScaledExpIsTheExponentialTimesAFactor) {
  std::vector<float> row = random_numbers<float>(37, 9);
  for (float& x : row) x = -10 * std::abs(x);
  std::vector<float> result = row;
  GetParam()->float32.scaled_exp(result.data(), 37, -0.75F);
  for (std::size_t i = 0; i < row.size(); ++i) {
    EXPECT_NEAR(result[i], -0.75 * std::exp(double{row[i]}), 1e-7);
  }
}

TEST_P(RowKernelsTest, TheGradientOfAGateIsThatOfItsFormula) {
  auto gate = random_numbers<float>(37, 10);
  gate[3] = 120;
  gate[36] = -120;
  const auto up = random_numbers<float>(37, 11);
  const auto d = random_numbers<float>(37, 12);
  std::vector<float> d_gate(37), d_up(37);
  GetParam()->float32.gate_gradient(
      {gate.data(), up.data(), d.data(), 37, d_gate.data(), d_up.data()});
  for (std::size_t i = 0; i < 37; ++i) {
    const double sigmoid = 1 / (1 + std::exp(-double{gate[i]}));
    EXPECT_NEAR(d_up[i], d[i] * gate[i] * sigmoid, 1e-6);
    EXPECT_NEAR(d_gate[i], d[i] * up[i] * sigmoid * (1 + gate[i] * (1 - sigmoid)), 2e-6);
  }
}

/// softmax(scale * q . k) v in double.
template <class T>
std::vector<double> attention(const std::vector<T>& q, const std::vector<T>& k,
                              const std::vector<T>& v, double scale) {
  const std::size_t dim = q.size();
  std::vector<double> weights, out(dim);
  double total = 0;
  for (std::size_t t = 0; t * dim < k.size(); ++t) {
    double score = 0;
    for (std::size_t i = 0; i < dim; ++i) score += double{q[i]} * double{k[t * dim + i]};
    weights.push_back(std::exp(scale * score));
    total += weights.back();
  }
  for (std::size_t t = 0; t < weights.size(); ++t) {
    for (std::size_t i = 0; i < dim; ++i) out[i] += weights[t] / total * double{v[t * dim + i]};
  }
  return out;
}

TEST_P(RowKernelsTest, AttentionIsTheSoftmaxAverageOverAllSegments) {
  for (const std::int64_t dim : {2, 16, 24, 64}) {
    const auto size = static_cast<std::size_t>(dim);
    const auto q = random_numbers<float>(size, 7);
    const auto k = random_numbers<float>(size * 45, 8);
    const auto v = random_numbers<float>(size * 45, 9);
    const std::vector<KeyValueSegment<float>> segments{
        {k.data(), v.data(), 13},
        {k.data() + 13 * dim, v.data() + 13 * dim, 31},
        {k.data() + 44 * dim, v.data() + 44 * dim, 1}};
    std::vector<float> scores(45), out(size);
    GetParam()->float32.attend(
        {q.data(), dim, segments.data(), 3, 0.3F, scores.data(), out.data()});
    const std::vector<double> expected = attention(q, k, v, 0.3F);
    for (std::size_t i = 0; i < size; ++i) EXPECT_NEAR(out[i], expected[i], 1e-6) << dim;
  }
}

TEST_P(RowKernelsTest, AttentionInDoubleIsExact) {
  const auto q = random_numbers<double>(6, 7);
  const auto k = random_numbers<double>(6 * 5, 8);
  const auto v = random_numbers<double>(6 * 5, 9);
  const KeyValueSegment<double> segment{k.data(), v.data(), 5};
  std::vector<double> scores(5), out(6);
  GetParam()->float64.attend({q.data(), 6, &segment, 1, 0.3, scores.data(), out.data()});
  const std::vector<double> expected = attention(q, k, v, 0.3);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(out[i], expected[i], 1e-14);
}

TEST_P(RowKernelsTest, GateIsSiluTimesUpOverTheWholeRange) {
  std::vector<float> gate, up;
  for (double x = -120; x <= 120; x += 0.37) {
    gate.push_back(static_cast<float>(x));
    up.push_back(static_cast<float>(1.5 - x / 100));
  }
  std::vector<float> out(gate.size());
  GetParam()->float32.gate(
      {gate.data(), up.data(), static_cast<std::int64_t>(gate.size()), out.data()});
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double expected = double{gate[i]} / (1 + std::exp(-double{gate[i]})) * double{up[i]};
    EXPECT_NEAR(out[i], expected, 3e-7 * std::abs(expected) + 1e-30) << gate[i];
  }
}

TEST_P(RowKernelsTest, GateOfAnElementDoesNotDependOnItsPlace) {
  const auto gate = random_numbers<float>(67, 10);
  const auto up = random_numbers<float>(67, 11);
  std::vector<float> whole(67);
  GetParam()->float32.gate({gate.data(), up.data(), 67, whole.data()});
  for (std::size_t i = 0; i < 67; ++i) {
    float alone = 0;
    GetParam()->float32.gate({gate.data() + i, up.data() + i, 1, &alone});
    EXPECT_EQ(alone, whole[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryInstructionSet, RowKernelsTest, ::testing::ValuesIn(kernels_here()),
                         name_of_kernels);

}  // namespace
}  // namespace tinkex::torch_ext::local
