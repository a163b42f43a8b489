#include "torch_ext/local/row_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace tinkex::torch_ext::local {
namespace {

template <class T>
std::vector<T> random_numbers(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<T> normal;
  std::vector<T> numbers(count);
  for (T& each : numbers) each = normal(random);
  return numbers;
}

/// The instruction sets that this machine has.
std::vector<const RowKernels*> kernels_here() {
  std::vector<const RowKernels*> all{baseline_row_kernels()};
  const std::string fastest = row_kernels().name;
  if (fastest == "avx2" || fastest == "avx512") all.push_back(avx2_row_kernels());
  if (fastest == "avx512") all.push_back(avx512_row_kernels());
  return all;
}

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
    GetParam()->product_float(
        {x.data(), stride, rows, in, w.data(), outs, y.data(), outs, 0.5F, true});
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t o = 0; o < outs; ++o) {
        double sum = 0;
        for (std::int64_t k = 0; k < in; ++k) {
          sum += double{x[static_cast<std::size_t>(r * stride + k)]} *
                 double{w[static_cast<std::size_t>(o * in + k)]};
        }
        ASSERT_NEAR(y[static_cast<std::size_t>(r * outs + o)], 0.25 + 0.5 * sum, 2e-5)
            << rows << " x " << in << " x " << outs;
      }
    }
  }
}

TEST_P(RowKernelsTest, RowGetsTheSameBitsAloneAndAmongOthers) {
  for (const auto& [rows, in, outs] : shapes()) {
    const auto x = random_numbers<float>(static_cast<std::size_t>(rows * in), 3);
    const auto w = random_numbers<float>(static_cast<std::size_t>(outs * in), 4);
    std::vector<float> together(static_cast<std::size_t>(rows * outs));
    GetParam()->product_float(
        {x.data(), in, rows, in, w.data(), outs, together.data(), outs, 1, false});
    for (std::int64_t r = 0; r < rows; ++r) {
      std::vector<float> alone(static_cast<std::size_t>(outs));
      const std::int64_t half = outs / 2;  // As two threads share the work.
      GetParam()->product_float(
          {x.data() + r * in, in, 1, in, w.data(), half, alone.data(), outs, 1, false});
      GetParam()->product_float({x.data() + r * in, in, 1, in, w.data() + half * in, outs - half,
                                 alone.data() + half, outs, 1, false});
      ASSERT_EQ(std::memcmp(alone.data(), together.data() + r * outs, alone.size() * 4), 0)
          << "row " << r << " of " << rows << " x " << in << " x " << outs;
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
  GetParam()->product_float(
      {x.data(), 50, 3, 50, widened.data(), 20, expected.data(), 20, 1, false});
  EXPECT_EQ(y, expected);
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
    GetParam()->attend_float({q.data(), dim, segments.data(), 3, 0.3F, scores.data(), out.data()});
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
  GetParam()->attend_double({q.data(), 6, &segment, 1, 0.3, scores.data(), out.data()});
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
  GetParam()->gate_float(
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
  GetParam()->gate_float({gate.data(), up.data(), 67, whole.data()});
  for (std::size_t i = 0; i < 67; ++i) {
    float alone = 0;
    GetParam()->gate_float({gate.data() + i, up.data() + i, 1, &alone});
    EXPECT_EQ(alone, whole[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(EveryInstructionSet, RowKernelsTest, ::testing::ValuesIn(kernels_here()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace tinkex::torch_ext::local
