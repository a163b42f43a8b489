#include "torch_ext/local/random.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string_view>

#include "torch_ext/local/digest.h"

namespace tinkex::torch_ext::local {
namespace {

std::uint64_t hash_of(std::string_view text) { return hash64(std::as_bytes(std::span(text))); }

TEST(DigestTest, MatchesPublishedXxh64Values) {
  EXPECT_EQ(to_hex(hash_of("")), "ef46db3751d8e999");
  EXPECT_EQ(to_hex(hash_of("a")), "d24ec4f1a98c6e5b");
  EXPECT_EQ(to_hex(hash_of("abc")), "44bc2cf5ad770999");
  EXPECT_EQ(to_hex(hash_of("Nobody inspects the spammish repetition")), "fbcea83c8a378bf1");
}

TEST(RandomTest, MatchesPublishedPhiloxValues) {
  const std::array<std::uint32_t, 4> zeros{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  EXPECT_EQ(RandomStream(0, 0).block(0), zeros);
  const std::array<std::uint32_t, 4> pi{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  EXPECT_EQ(RandomStream(0x299f31d0a4093822, 0x0370734413198a2e).block(0x85a308d3243f6a88), pi);
}

TEST(RandomTest, StreamsDependOnSeedNameAndLane) {
  const double first = RandomStream::named(1, "q").uniform(0);
  EXPECT_EQ(first, RandomStream::named(1, "q").uniform(0));
  EXPECT_NE(first, RandomStream::named(2, "q").uniform(0));
  EXPECT_NE(first, RandomStream::named(1, "k").uniform(0));
  EXPECT_NE(RandomStream(5, 1).uniform(0), RandomStream(6, 0).uniform(0));
}

TEST(RandomTest, NormalNumbersHaveTheirMoments) {
  const at::Tensor x = at::empty({20000}, at::ScalarType::Double);
  fill_normal(x, RandomStream(3), 2.0);
  EXPECT_NEAR(x.mean().item<double>(), 0.0, 0.06);
  EXPECT_NEAR(x.std().item<double>(), 2.0, 0.05);
  EXPECT_NEAR(x.pow(4).mean().item<double>() / 16.0, 3.0, 0.3);
}

TEST(RandomTest, UniformNumbersFillTheirRange) {
  const at::Tensor x = at::empty({20000}, at::ScalarType::Float);
  fill_uniform(x, RandomStream(4), 0.5);
  EXPECT_GE(x.min().item<float>(), -0.5F);
  EXPECT_LT(x.max().item<float>(), 0.5F);
  EXPECT_NEAR(x.mean().item<double>(), 0.0, 0.01);
  EXPECT_NEAR(x.std().item<double>(), 1.0 / std::sqrt(12.0), 0.01);
}

TEST(RandomTest, BothTypesGetTheSameNumbers) {
  const at::Tensor single = at::empty({100}, at::ScalarType::Float);
  const at::Tensor twice = at::empty({100}, at::ScalarType::Double);
  fill_normal(single, RandomStream(5), 1.0);
  fill_normal(twice, RandomStream(5), 1.0);
  EXPECT_TRUE(single.equal(twice.to(at::ScalarType::Float)));
}

}  // namespace
}  // namespace tinkex::torch_ext::local
