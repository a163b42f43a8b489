// Models whose frozen matrices are held as bfloat16.

#include <gtest/gtest.h>

#include "tests/torch_ext/local/engine_testing.h"

namespace tinkex::torch_ext::local::testing {
namespace {

class WeightTypeTest : public ::testing::Test {
 protected:
  /// The weights, rounded to what bfloat16 can hold.
  static Weights rounded() {
    Weights weights = random_weights(small_config(), 1);
    for (auto& [name, tensor] : weights) {
      tensor = tensor.to(at::ScalarType::BFloat16).to(at::ScalarType::Float);
    }
    return weights;
  }

  std::shared_ptr<const BaseModel> wide_ =
      model_of(small_config(), rounded(), at::ScalarType::Float);
  std::shared_ptr<const BaseModel> narrow_ =
      model_of(small_config(), rounded(), at::ScalarType::BFloat16);
  std::shared_ptr<const Adapter> adapter_ = noisy_adapter(*wide_, rank(4), 61);
};

TEST_F(WeightTypeTest, MatricesAreHeldInHalfTheMemory) {
  EXPECT_EQ(narrow_->dtype(), at::ScalarType::BFloat16);
  EXPECT_EQ(narrow_->compute_dtype(), at::ScalarType::Float);
  EXPECT_EQ(2 * narrow_->layers()[0].qkv.nbytes(), wide_->layers()[0].qkv.nbytes());
  EXPECT_EQ(2 * narrow_->unembed().nbytes(), wide_->unembed().nbytes());
}

TEST_F(WeightTypeTest, TrainingGivesTheBitsOfTheWidenedWeights) {
  const std::vector<Datum> data = cross_entropy_batch(small_config().vocab_size, 3);
  const PassOutput wide = pass(*wide_, *adapter_, data);
  const PassOutput narrow = pass(*narrow_, *adapter_, data);
  EXPECT_EQ(wide.loss, narrow.loss);
  EXPECT_EQ(wide.logprobs, narrow.logprobs);
  EXPECT_TRUE(bit_equal(wide.gradient, narrow.gradient));
}

TEST_F(WeightTypeTest, OfFewTokensToo) {
  for (const Datum& datum : cross_entropy_batch(small_config().vocab_size, 4)) {
    const PassOutput wide = pass(*wide_, *adapter_, {datum});
    const PassOutput narrow = pass(*narrow_, *adapter_, {datum});
    EXPECT_EQ(wide.logprobs, narrow.logprobs);
    EXPECT_TRUE(bit_equal(wide.gradient, narrow.gradient));
  }
}

TEST_F(WeightTypeTest, SamplingDiffersFromTheWidenedWeightsByRoundingAlone) {
  SampleRequest request;
  request.prompt = ModelInput::from_tokens(random_tokens(5, small_config().vocab_size, 7));
  request.num_samples = 5;
  request.params.max_tokens = 20;
  request.params.seed = 3;
  const SampleResponse wide = sample(wide_, adapter_, request, nullptr).value();
  const SampleResponse narrow = sample(narrow_, adapter_, request, nullptr).value();
  for (std::size_t i = 0; i < wide.sequences.size(); ++i) {
    ASSERT_EQ(wide.sequences[i].tokens, narrow.sequences[i].tokens);
    for (std::size_t k = 0; k < wide.sequences[i].logprobs.size(); ++k) {
      EXPECT_NEAR(wide.sequences[i].logprobs[k], narrow.sequences[i].logprobs[k], 1e-4);
    }
  }
}

TEST_F(WeightTypeTest, AdapterAndOptimizerStayFloat32) {
  const auto run = TrainingRun::create(narrow_, rank(4)).value();
  const std::vector<Datum> data = cross_entropy_batch(small_config().vocab_size, 3);
  ASSERT_TRUE(run->forward_backward(data, "cross_entropy", {}, false).ok());
  ASSERT_TRUE(run->optim_step({}).ok());
  EXPECT_EQ(run->snapshot()->flat().scalar_type(), at::ScalarType::Float);
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
