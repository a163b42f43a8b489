#include "torch_ext/seeded_sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/serialize.h>

#include <sstream>

#include "tinkex/error.h"
#include "torch_ext/seeded_order.h"

namespace tinkex::torch_ext {
namespace {

using ::testing::HasSubstr;

/// What is left of the epoch, in batches of `size`.
std::vector<std::size_t> rest(SeededSampler& sampler, std::size_t size = 3) {
  std::vector<std::size_t> indices;
  while (const auto batch = sampler.next(size)) {
    indices.insert(indices.end(), batch->begin(), batch->end());
  }
  return indices;
}

std::vector<std::size_t> order_from(std::size_t begin, std::uint64_t epoch) {
  const auto order = seeded_order(10, 7, epoch);
  return {order.begin() + static_cast<std::ptrdiff_t>(begin), order.end()};
}

std::string saved(const SeededSampler& sampler) {
  std::ostringstream stream;
  torch::save(sampler, stream);
  return stream.str();
}

SeededSampler loaded(const std::string& bytes, SeededSampler into) {
  std::istringstream stream(bytes);
  torch::load(into, stream);
  return into;
}

template <class Function>
std::string error_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.message();
  }
  return "no error";
}

TEST(SeededSamplerTest, EachPassIsAnEpochWithAnOrderOfItsOwn) {
  SeededSampler sampler(10, 7);
  for (std::uint64_t epoch = 0; epoch < 3; ++epoch) {
    sampler.reset();
    EXPECT_EQ(rest(sampler), order_from(0, epoch));
    EXPECT_FALSE(sampler.next(1));
  }
}

TEST(SeededSamplerTest, APassThatWasLeftInTheMiddleIsFollowedByTheNextEpoch) {
  SeededSampler sampler(10, 7);
  sampler.reset();
  sampler.next(4);
  sampler.reset();
  EXPECT_EQ(rest(sampler), order_from(0, 1));
}

TEST(SeededSamplerTest, AResetKeepsThePlaceThatWasSkippedTo) {
  SeededSampler sampler(10, 7, 2);
  sampler.skip_to(6);
  sampler.reset();
  EXPECT_EQ(rest(sampler), order_from(6, 2));
  sampler.reset();
  EXPECT_EQ(rest(sampler), order_from(0, 3));
}

TEST(SeededSamplerTest, ASavedSamplerGoesOnWhereItWas) {
  SeededSampler sampler(10, 7, 1);
  sampler.advance(3);
  sampler.advance(1);
  SeededSampler resumed = loaded(saved(sampler), SeededSampler(10));
  EXPECT_EQ(resumed.epoch(), 1u);
  EXPECT_EQ(resumed.index(), 4u);
  EXPECT_EQ(resumed.seed(), 7u);
  resumed.reset();
  EXPECT_EQ(rest(resumed), order_from(4, 1));
}

TEST(SeededSamplerTest, ASamplerThatWasUsedForgetsItsOrderWhenItLoads) {
  SeededSampler used(10, 1);
  rest(used);
  SeededSampler resumed = loaded(saved(SeededSampler(10, 7)), used);
  resumed.reset();
  EXPECT_EQ(rest(resumed), order_from(0, 0));
}

TEST(SeededSamplerTest, ASaveAtTheEndOfAnEpochGoesOnWithTheNext) {
  SeededSampler sampler(10, 7);
  sampler.advance(10);
  SeededSampler resumed = loaded(saved(sampler), SeededSampler(10));
  resumed.reset();
  EXPECT_TRUE(rest(resumed).empty());
  resumed.reset();
  EXPECT_EQ(rest(resumed), order_from(0, 1));
}

TEST(SeededSamplerTest, SeedsOfAllBitsSurviveASave) {
  const SeededSampler resumed =
      loaded(saved(SeededSampler(10, ~std::uint64_t{0}, ~std::uint64_t{0} - 1)), SeededSampler(10));
  EXPECT_EQ(resumed.seed(), ~std::uint64_t{0});
  EXPECT_EQ(resumed.epoch(), ~std::uint64_t{0} - 1);
}

TEST(SeededSamplerTest, ASaveOfOtherDataIsRefused) {
  const std::string bytes = saved(SeededSampler(10, 7));
  SeededSampler other(9, 5);
  EXPECT_THAT(error_of([&] { loaded(bytes, other); }),
              HasSubstr("was saved for 10 examples, but this one is for 9"));
  std::ostringstream stream;
  torch::save(torch::ones({2}), stream);
  EXPECT_THAT(error_of([&] { loaded(stream.str(), other); }), HasSubstr("holds no SeededSampler"));
}

TEST(SeededSamplerTest, APlaceBeyondTheEndIsRefusedAndChangesNothing) {
  SeededSampler sampler(10, 7);
  sampler.skip_to(8);
  EXPECT_EQ(
      error_of([&] { sampler.advance(3); }),
      "index is 11, expected at most 10, the size of the sampler; next_epoch() begins another "
      "epoch");
  EXPECT_EQ(sampler.index(), 8u);
}

TEST(SeededSamplerTest, ANewSizeBeginsTheEpochAnew) {
  SeededSampler sampler(20, 7);
  sampler.skip_to(15);
  sampler.reset(10);
  EXPECT_EQ(rest(sampler), order_from(0, 0));
}

}  // namespace
}  // namespace tinkex::torch_ext
