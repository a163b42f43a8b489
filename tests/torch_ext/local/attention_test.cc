#include "torch_ext/local/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace tinkex::torch_ext::local {
namespace {

struct Shape {
  std::int64_t batch, length, heads, kv_heads, dim;
};

/// One sequence and many, blocks that are whole, begun and missing, all groupings of heads.
std::vector<Shape> shapes() {
  return {{1, 1, 1, 1, 2},   {1, 7, 4, 2, 8},    {2, 32, 6, 2, 16}, {1, 33, 3, 1, 5},
          {13, 40, 4, 4, 8}, {5, 100, 9, 3, 16}, {1, 65, 7, 1, 24}, {3, 64, 2, 2, 64},
          {1, 430, 4, 2, 8}, {1, 9, 2, 1, 96}};
}

ModelConfig config_of(const Shape& shape) {
  ModelConfig config;
  config.num_attention_heads = shape.heads;
  config.num_key_value_heads = shape.kv_heads;
  config.head_dim = shape.dim;
  return config;
}

at::Tensor random_rows(const Shape& shape, std::int64_t heads, at::ScalarType dtype) {
  return at::randn({shape.batch * shape.length, heads * shape.dim}, dtype);
}

/// The definition, with LibTorch's operations.
at::Tensor defined(const at::Tensor& rows, const Shape& shape) {
  const at::Tensor all =
      rows.view({shape.batch, shape.length, shape.heads + 2 * shape.kv_heads, shape.dim})
          .transpose(1, 2);
  const std::int64_t group = shape.heads / shape.kv_heads;
  const at::Tensor q = all.narrow(1, 0, shape.heads);
  const at::Tensor k = all.narrow(1, shape.heads, shape.kv_heads).repeat_interleave(group, 1);
  const at::Tensor v =
      all.narrow(1, shape.heads + shape.kv_heads, shape.kv_heads).repeat_interleave(group, 1);
  const at::Tensor scores = at::matmul(q, k.transpose(2, 3)) / std::sqrt(double(shape.dim));
  const at::Tensor later = at::ones({shape.length, shape.length}, at::kBool).triu(1);
  const at::Tensor p = scores.masked_fill(later, -INFINITY).softmax(-1);
  return at::matmul(p, v).transpose(1, 2).reshape({rows.size(0), -1});
}

double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

class AttentionTest : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override { at::manual_seed(1); }
  double tolerance() const { return GetParam() == at::kDouble ? 1e-12 : 2e-5; }
};

TEST_P(AttentionTest, ResultAndGradientAreThoseOfTheDefinition) {
  for (const Shape& shape : shapes()) {
    const ModelConfig config = config_of(shape);
    const at::Tensor rows = random_rows(shape, shape.heads + 2 * shape.kv_heads, GetParam());
    const at::Tensor d_out = random_rows(shape, shape.heads, GetParam());
    const AttentionRecord record = attention(rows, config, shape.length);
    const at::Tensor leaf = rows.to(at::kDouble).clone().requires_grad_();
    const at::Tensor expected = defined(leaf, shape);
    EXPECT_LT(difference(record.out, expected.detach()), tolerance()) << shape.length;
    const at::Tensor gradient =
        torch::autograd::grad({expected}, {leaf}, {d_out.to(at::kDouble)}).front();
    EXPECT_LT(difference(attention_backward(d_out, rows, record, config, shape.length), gradient),
              tolerance())
        << shape.length;
  }
}

TEST_P(AttentionTest, AnotherThreadChangesNoBit) {
  const int before = at::get_num_threads();
  for (const Shape& shape : {Shape{5, 100, 9, 3, 16}, Shape{1, 265, 7, 1, 24}}) {
    const ModelConfig config = config_of(shape);
    const at::Tensor rows = random_rows(shape, shape.heads + 2 * shape.kv_heads, GetParam());
    const at::Tensor d_out = random_rows(shape, shape.heads, GetParam());
    std::vector<at::Tensor> outs, gradients;
    for (const int threads : {1, 2, 3}) {
      at::set_num_threads(threads);
      const AttentionRecord record = attention(rows, config, shape.length);
      outs.push_back(record.out);
      gradients.push_back(attention_backward(d_out, rows, record, config, shape.length));
    }
    for (const std::size_t i : {1, 2}) {
      EXPECT_TRUE(at::equal(outs[i], outs[0]));
      EXPECT_TRUE(at::equal(gradients[i], gradients[0]));
    }
  }
  at::set_num_threads(before);
}

TEST_P(AttentionTest, ASequenceIsComputedAlikeWhateverIsBesideIt) {
  const Shape shape{5, 50, 4, 2, 16};
  const at::Tensor rows = random_rows(shape, 8, GetParam());
  const at::Tensor together = attention(rows, config_of(shape), shape.length).out;
  for (std::int64_t i = 0; i < shape.batch; ++i) {
    const at::Tensor own = rows.narrow(0, i * shape.length, shape.length).clone();
    EXPECT_TRUE(at::equal(attention(own, config_of(shape), shape.length).out,
                          together.narrow(0, i * shape.length, shape.length)));
  }
}

TEST_P(AttentionTest, WhatComesLaterChangesNoBit) {
  const Shape shape{1, 270, 4, 2, 16};
  const at::Tensor rows = random_rows(shape, 8, GetParam());
  const at::Tensor whole = attention(rows, config_of(shape), shape.length).out;
  at::Tensor changed = rows.clone();
  changed.narrow(0, 200, 70).fill_(1e3);
  const at::Tensor out = attention(changed, config_of(shape), shape.length).out;
  EXPECT_TRUE(at::equal(out.narrow(0, 0, 200), whole.narrow(0, 0, 200)));
  for (const std::int64_t length : {1, 40, 200}) {
    const at::Tensor own = rows.narrow(0, 0, length).clone();
    EXPECT_TRUE(
        at::equal(attention(own, config_of(shape), length).out, whole.narrow(0, 0, length)));
  }
}

TEST_P(AttentionTest, LargeScoresKeepTheirGradient) {
  const Shape shape{1, 4, 1, 1, 4};
  at::Tensor rows = random_rows(shape, 3, GetParam());
  rows.narrow(1, 0, 8).fill_(2e3);  // All scores are the same, 8e6.
  const at::Tensor d_out = random_rows(shape, 1, GetParam());
  const AttentionRecord record = attention(rows, config_of(shape), shape.length);
  const at::Tensor dv =
      attention_backward(d_out, rows, record, config_of(shape), shape.length).narrow(1, 8, 4);
  EXPECT_LT(difference(dv.narrow(0, 3, 1), d_out.narrow(0, 3, 1) / 4), tolerance());
}

INSTANTIATE_TEST_SUITE_P(Types, AttentionTest, ::testing::Values(at::kFloat, at::kDouble),
                         [](const auto& info) { return std::string(toString(info.param)); });

}  // namespace
}  // namespace tinkex::torch_ext::local
