// Properties that a sum-reduced LoRA trainer must have, whatever its weights are.

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"

namespace tinkex::torch_ext::local::testing {
namespace {

class Invariants : public ::testing::Test {
 protected:
  PassOutput run(const std::vector<Datum>& data, const std::string& loss = "cross_entropy",
                 const LossConfig& config = {}) const {
    return pass(*model_, *adapter_, data, loss, true, config);
  }
  std::vector<std::vector<float>> logprobs(const std::vector<Datum>& data) const {
    return pass(*model_, *adapter_, data, "cross_entropy", false).logprobs;
  }
  /// The batch with its weights replaced by those that `weight(datum, position)` gives.
  template <class F>
  std::vector<Datum> with_weights(F weight) const {
    std::vector<Datum> data;
    for (std::size_t i = 0; i < data_.size(); ++i) {
      const std::vector<std::int64_t> tokens = data_[i].model_input.text_tokens();
      std::vector<float> weights;
      for (std::size_t t = 0; t < tokens.size(); ++t) weights.push_back(weight(i, t));
      data.push_back(cross_entropy_datum(
          tokens, find(data_[i].loss_fn_inputs, "target_tokens")->to_ints(), weights));
    }
    return data;
  }
  float weight_at(std::size_t datum, std::size_t position) const {
    return find(data_[datum].loss_fn_inputs, "weights")->to_floats()[position];
  }
  /// Policy data whose recorded logprobs are those of the model, exactly.
  std::vector<Datum> on_policy() const { return policy_batch(data_, logprobs(data_), 0.0F, 30); }

  std::shared_ptr<const BaseModel> model_ = small_model(at::ScalarType::Double);
  std::shared_ptr<const Adapter> adapter_ = noisy_adapter(*model_, rank(4), 21);
  std::vector<Datum> data_ = cross_entropy_batch(model_->config().vocab_size, 22);
};

TEST_F(Invariants, BatchGradientIsTheSumOverAnySplit) {
  const PassOutput whole = run(data_);
  for (std::size_t cut = 1; cut < data_.size(); ++cut) {
    const auto middle = data_.begin() + static_cast<std::ptrdiff_t>(cut);
    const PassOutput first = run({data_.begin(), middle});
    const PassOutput second = run({middle, data_.end()});
    EXPECT_NEAR(first.loss + second.loss, whole.loss, 1e-12);
    EXPECT_LT(relative_error(first.gradient + second.gradient, whole.gradient), 1e-12);
  }
}

TEST_F(Invariants, GradientIsLinearInTheWeights) {
  const PassOutput once = run(data_);
  const auto scaled = [&](float factor) {
    return run(with_weights([&](auto i, auto t) { return factor * weight_at(i, t); }));
  };
  EXPECT_LT(relative_error(scaled(4).gradient, once.gradient * 4.0), 1e-12);
  EXPECT_LT(relative_error(scaled(-1).gradient, -once.gradient), 1e-12);
  EXPECT_NEAR(scaled(-1).loss, -once.loss, 1e-12);
}

TEST_F(Invariants, CustomLossByWeightsEqualsItsOwnDerivative) {
  // C = sum of p^2 / 2, so dC/dp = p: cross_entropy with weights -p must be its gradient.
  const auto p = logprobs(data_);
  const at::Tensor gradient = run(with_weights([&](auto i, auto t) { return -p[i][t]; })).gradient;
  const at::Tensor direction =
      noisy_adapter(*model_, rank(4), 23)->flat();  // One direction through all parameters.
  const auto custom = [&](double step) {
    const auto moved =
        Adapter::from_flat(adapter_->shared_layout(), adapter_->flat() + direction * step);
    const PassOutput output = pass(*model_, *moved, data_, "cross_entropy", false);
    double sum = 0;
    for (const std::vector<float>& datum : output.logprobs) {
      for (const float value : datum) sum += 0.5 * static_cast<double>(value) * value;
    }
    return sum;
  };
  const double slope = (custom(1e-2) - custom(-1e-2)) / 2e-2;
  EXPECT_NEAR((gradient * direction).sum().item<double>(), slope, 1e-3 * std::abs(slope));
}

TEST_F(Invariants, PolicyLossesReduceToEachOtherWhereTheyMust) {
  const std::vector<Datum> data = on_policy();
  const at::Tensor importance = run(data, "importance_sampling").gradient;
  std::vector<Datum> as_weights;
  for (const Datum& datum : data) {
    as_weights.push_back(cross_entropy_datum(
        datum.model_input.text_tokens(), find(datum.loss_fn_inputs, "target_tokens")->to_ints(),
        find(datum.loss_fn_inputs, "advantages")->to_floats()));
  }
  const at::Tensor weighted = run(as_weights).gradient;
  const auto off_policy = policy_batch(data_, logprobs(data_), 0.1F, 31);
  const at::Tensor off_importance = run(off_policy, "importance_sampling").gradient;
  // The recorded logprobs went through float32, so ratios differ from 1 by about 1e-7.
  EXPECT_LT(relative_error(importance, weighted), 1e-6);
  EXPECT_LT(relative_error(run(data, "dro", {{"beta", 0.0}}).gradient, weighted), 1e-12);
  EXPECT_LT(relative_error(run(off_policy, "cispo", {{"clip_high_threshold", 100.0}}).gradient,
                           off_importance),
            1e-12);
  EXPECT_LT(relative_error(run(off_policy, "ppo").gradient, off_importance), 1e-12);
}

TEST_F(Invariants, OrderAndPaddingOfDatumsChangeNothingButRounding) {
  const PassOutput expected = run(data_);
  std::vector<Datum> reversed(data_.rbegin(), data_.rend());
  PassOutput other = run(reversed);
  std::reverse(other.logprobs.begin(), other.logprobs.end());
  EXPECT_LT(largest_gap(other.logprobs, expected.logprobs), 2e-6);
  EXPECT_LT(relative_error(other.gradient, expected.gradient), 1e-12);
  for (std::size_t i = 0; i < data_.size(); ++i) {  // Alone, without padding.
    EXPECT_LT(largest_gap(run({data_[i]}).logprobs, {expected.logprobs[i]}), 2e-6);
  }
}

TEST_F(Invariants, EarlierLogprobsDoNotDependOnLaterTokens) {
  const auto tokens = random_tokens(12, model_->config().vocab_size, 24);
  const auto targets = random_tokens(12, model_->config().vocab_size, 25);
  const auto of_prefix = [&](std::ptrdiff_t n) {
    return logprobs({cross_entropy_datum({tokens.begin(), tokens.begin() + n},
                                         {targets.begin(), targets.begin() + n},
                                         std::vector<float>(static_cast<std::size_t>(n), 1))})[0];
  };
  const std::vector<float> whole = of_prefix(12);
  for (std::ptrdiff_t n = 1; n < 12; ++n) {
    EXPECT_LT(largest_gap({of_prefix(n)}, {{whole.begin(), whole.begin() + n}}), 2e-6);
  }
}

TEST_F(Invariants, PositionsWithoutWeightAreReportedAndGiveNoGradient) {
  const std::vector<Datum> half =
      with_weights([](auto, auto t) { return t % 2 == 0 ? 1.0F : 0.0F; });
  const std::vector<Datum> none = with_weights([](auto, auto) { return 0.0F; });
  EXPECT_LT(largest_gap(run(half).logprobs, logprobs(data_)), 2e-6);
  const PassOutput idle = run(none);
  EXPECT_EQ(idle.loss, 0);
  EXPECT_EQ(idle.gradient.abs().sum().item<double>(), 0);
}

TEST_F(Invariants, ADatumGivesTheSameBitsAloneAndBesideOthers) {
  const auto model = small_model(at::ScalarType::Float);
  const auto adapter = noisy_adapter(*model, rank(4), 27);
  const PassOutput together = pass(*model, *adapter, data_);
  for (std::size_t i = 0; i < data_.size(); ++i) {
    const PassOutput alone = pass(*model, *adapter, {data_[i]});
    EXPECT_EQ(alone.logprobs[0], together.logprobs[i]) << "datum " << i;
  }
}

TEST_F(Invariants, AnyNumberOfLanesGivesTheSameBits) {
  const auto model = small_model(at::ScalarType::Float);
  const auto adapter = noisy_adapter(*model, rank(4), 28);
  std::vector<Datum> data;  // more micro-batches, one for each datum, than there are groups
  for (int i = 0; i < 30; ++i) data.insert(data.end(), data_.begin(), data_.end());
  const PassOutput first = pass(*model, *adapter, data, "cross_entropy", true, {}, {1, 1});
  for (const int lanes : {2, 3, 3, 3, 16, 100}) {
    const PassOutput again = pass(*model, *adapter, data, "cross_entropy", true, {}, {1, lanes});
    EXPECT_EQ(again.loss, first.loss);
    EXPECT_EQ(again.logprobs, first.logprobs);
    EXPECT_TRUE(bit_equal(again.gradient, first.gradient));
  }
}

/// Large enough that threads share out every product, not the micro-batches. Of three datums every
/// key head is a piece of attention's backward pass; of one every query head is, whose gradients of
/// keys and values LibTorch adds up: enough of them for several threads.
TEST(InvariantsTest, AnyNumberOfThreadsGivesTheSameBitsOfALargeModel) {
  ModelConfig config = small_config();
  config.hidden_size = 512;
  config.intermediate_size = 2048;
  config.num_hidden_layers = 4;
  config.num_attention_heads = 8;
  config.num_key_value_heads = 4;
  config.head_dim = 64;
  const auto model = model_of(config, random_weights(config, 5), at::ScalarType::Float);
  const auto adapter = noisy_adapter(*model, rank(4), 29);
  std::vector<Datum> data;
  for (const std::int64_t length : {40, 31, 36}) {
    const auto seed = static_cast<std::uint64_t>(length);
    data.push_back(
        cross_entropy_datum(random_tokens(length, config.vocab_size, seed),
                            random_tokens(length, config.vocab_size, seed + 1),
                            random_floats(static_cast<std::size_t>(length), -0.5F, 1, seed)));
  }
  const auto on = [&](int threads) {
    const Threads limit(threads);
    return pass(*model, *adapter, data);
  };
  const auto expect_same_bits = [&](std::initializer_list<int> numbers) {
    const PassOutput alone = on(1);
    for (const int threads : numbers) {
      const PassOutput shared = on(threads);
      EXPECT_EQ(shared.loss, alone.loss) << threads;
      EXPECT_EQ(shared.logprobs, alone.logprobs) << threads;
      EXPECT_TRUE(bit_equal(shared.gradient, alone.gradient)) << threads;
    }
  };
  expect_same_bits({2, 3, 7});
  data.resize(1);
  expect_same_bits({2});
}

TEST(InvariantsTest, ZeroBMakesTheAdaptedModelTheBaseModelBitwise) {
  const auto model = small_model(at::ScalarType::Float);
  const auto run = TrainingRun::create(model, rank(4)).value();
  SampleRequest request;
  request.prompt = ModelInput::from_tokens(random_tokens(20, model->config().vocab_size, 26));
  request.params.max_tokens = 12;
  request.params.seed = 5;
  request.options.prompt_logprobs = true;
  const auto adapter = run->snapshot();
  const SampleResponse base = sample(model, nullptr, request, nullptr).value();
  const SampleResponse adapted = sample(model, adapter, request, nullptr).value();
  EXPECT_TRUE(std::equal(base.prompt_logprobs.begin() + 1, base.prompt_logprobs.end(),
                         adapted.prompt_logprobs.begin() + 1));
  EXPECT_EQ(base.sequences[0].tokens, adapted.sequences[0].tokens);
  EXPECT_EQ(base.sequences[0].logprobs, adapted.sequences[0].logprobs);
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
