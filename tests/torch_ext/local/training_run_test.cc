#include "torch_ext/local/training_run.h"

#include <ATen/TensorOperators.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/backend_errors.h"
#include "torch_ext/local/adamw.h"
#include "torch_ext/local/lora_layout.h"
#include "torch_ext/local/micro_batch.h"

namespace tinkex::torch_ext::local::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

AdamParams learning_rate(double value) {
  AdamParams params;
  params.learning_rate = value;
  return params;
}

LoraConfig seeded(std::int64_t rank_value, std::int64_t seed) {
  LoraConfig config = rank(rank_value);
  config.seed = seed;
  return config;
}

class TrainingRunTest : public ::testing::Test {
 protected:
  std::unique_ptr<TrainingRun> start(std::int64_t seed = 1) const {
    return TrainingRun::create(model_, seeded(4, seed)).value();
  }
  static ForwardBackwardOutput train(TrainingRun& run, const std::vector<Datum>& data) {
    return run.forward_backward(data, "cross_entropy", {}, false).value();
  }
  /// One forward_backward and one optim_step; the loss before it.
  static double step(TrainingRun& run, const std::vector<Datum>& data, double lr = 1e-2) {
    const double loss = train(run, data).metrics.at("loss:sum");
    run.optim_step(learning_rate(lr)).value();
    return loss;
  }
  /// The message of the error that the batch must give; the run must stay as it was.
  std::string refusal(const std::vector<Datum>& data, const std::string& loss = "cross_entropy",
                      const LossConfig& config = {}) {
    const auto run = start();
    const auto result = run->forward_backward(data, loss, config, false);
    if (result) return "accepted";
    EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(result.error().category(), ErrorCategory::kUser);
    EXPECT_FALSE(run->has_gradients());
    return result.error().message();
  }

  std::shared_ptr<const BaseModel> model_ = small_model(at::ScalarType::Float);
  std::vector<Datum> data_ = cross_entropy_batch(model_->config().vocab_size, 40);
};

TEST_F(TrainingRunTest, OutputHasTheShapeOfTheTargetsAndTheMetrics) {
  std::vector<Datum> data = {data_[0]};
  Datum wide;
  wide.model_input = ModelInput::from_tokens(std::vector<std::int64_t>{1, 2});
  wide.loss_fn_inputs.emplace_back(
      "target_tokens", TensorData::from(std::vector<std::int64_t>{3, 4, 5, 6, 7, 8}, {2, 3}));
  wide.loss_fn_inputs.emplace_back("weights",
                                   TensorData::from(std::vector<float>{1, 0, 0, 0, 0, 0}, {2, 3}));
  data.push_back(wide);
  const ForwardBackwardOutput output = train(*start(), data);
  ASSERT_EQ(output.loss_fn_outputs.size(), 2U);
  const TensorData* second = find(output.loss_fn_outputs[1], "logprobs");
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->dtype(), DType::kFloat32);
  EXPECT_EQ(second->shape(), (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(find(output.loss_fn_outputs[0], "logprobs")->shape(), std::vector<std::int64_t>{5});
  EXPECT_EQ(output.metrics.at("num_tokens:sum"), 7);
  EXPECT_EQ(output.metrics.at("num_loss_tokens:sum"), 6);
}

TEST_F(TrainingRunTest, MissingWeightsAreOnes) {
  std::vector<Datum> bare = {data_[2]};
  bare[0].loss_fn_inputs.pop_back();
  const ForwardBackwardOutput output = train(*start(), bare);
  double sum = 0;
  for (const float p : find(output.loss_fn_outputs[0], "logprobs")->to_floats()) sum -= p;
  EXPECT_NEAR(output.metrics.at("loss:sum"), sum, 1e-5);
}

TEST_F(TrainingRunTest, SparseInputsEqualTheirDenseForm) {
  const std::vector<std::int64_t> tokens{1, 2, 3};
  Datum dense;
  dense.model_input = ModelInput::from_tokens(tokens);
  dense.loss_fn_inputs.emplace_back(
      "target_tokens", TensorData::from(std::vector<std::int64_t>{0, 9, 0, 0, 4, 0}, {3, 2}));
  dense.loss_fn_inputs.emplace_back("weights",
                                    TensorData::from(std::vector<float>{0, 1, 0, 0, 2, 0}, {3, 2}));
  Datum sparse;
  sparse.model_input = ModelInput::from_tokens(tokens);
  sparse.loss_fn_inputs.emplace_back(
      "target_tokens", TensorData::sparse_csr(TensorData::from(std::vector<std::int64_t>{9, 4}),
                                              {0, 1, 1, 2}, {1, 0}, {3, 2})
                           .value());
  sparse.loss_fn_inputs.emplace_back(
      "weights", TensorData::sparse_csr(TensorData::from(std::vector<float>{1, 2}), {0, 1, 1, 2},
                                        {1, 0}, {3, 2})
                     .value());
  const auto a = train(*start(), {dense});
  const auto b = train(*start(), {sparse});
  EXPECT_EQ(a.metrics.at("loss:sum"), b.metrics.at("loss:sum"));
  EXPECT_EQ(find(a.loss_fn_outputs[0], "logprobs")->to_floats(),
            find(b.loss_fn_outputs[0], "logprobs")->to_floats());
}

TEST_F(TrainingRunTest, ForwardLeavesEverythingBitIdentical) {
  const auto plain = start();
  const auto watched = start();
  for (int i = 0; i < 3; ++i) {
    watched->forward_backward(data_, "cross_entropy", {}, true).value();
    train(*plain, data_);
    train(*watched, data_);
    watched->forward_backward(data_, "cross_entropy", {}, true).value();
    EXPECT_TRUE(bit_equal(plain->accumulated_gradient(), watched->accumulated_gradient()));
    plain->optim_step(learning_rate(1e-2)).value();
    watched->optim_step(learning_rate(1e-2)).value();
  }
  EXPECT_TRUE(bit_equal(plain->snapshot()->flat(), watched->snapshot()->flat()));
}

TEST_F(TrainingRunTest, SameSeedGivesTheSameLossesToTheLastDigit) {
  const auto first = start(7);
  const auto second = start(7);
  const auto other = start(8);
  EXPECT_FALSE(bit_equal(first->snapshot()->flat(), other->snapshot()->flat()));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(step(*first, data_), step(*second, data_));
}

TEST_F(TrainingRunTest, InterleavedRunsEqualRunsAlone) {
  const std::vector<Datum> other_data = cross_entropy_batch(model_->config().vocab_size, 41);
  const auto alone_a = start(1), alone_b = start(2), mixed_a = start(1), mixed_b = start(2);
  for (int i = 0; i < 3; ++i) step(*alone_a, data_);
  for (int i = 0; i < 3; ++i) step(*alone_b, other_data);
  for (int i = 0; i < 3; ++i) {
    train(*mixed_a, data_);
    train(*mixed_b, other_data);
    mixed_a->optim_step(learning_rate(1e-2)).value();
    mixed_b->optim_step(learning_rate(1e-2)).value();
  }
  EXPECT_TRUE(bit_equal(alone_a->snapshot()->flat(), mixed_a->snapshot()->flat()));
  EXPECT_TRUE(bit_equal(alone_b->snapshot()->flat(), mixed_b->snapshot()->flat()));
}

TEST_F(TrainingRunTest, SeveralBackwardPassesAccumulateUntilTheStep) {
  const auto run = start();
  train(*run, {data_[0]});
  const at::Tensor first = run->accumulated_gradient().clone();
  train(*run, {data_[1]});
  const auto other = start();
  train(*other, {data_[1]});
  EXPECT_TRUE(bit_equal(run->accumulated_gradient(), first + other->accumulated_gradient()));
  run->optim_step({}).value();
  EXPECT_FALSE(run->has_gradients());
}

TEST_F(TrainingRunTest, SnapshotKeepsItsWeightsWhileTrainingGoesOn) {
  const auto run = start();
  const auto snapshot = run->snapshot();
  const at::Tensor before = snapshot->flat().clone();
  step(*run, data_);
  EXPECT_TRUE(bit_equal(snapshot->flat(), before));
  EXPECT_FALSE(bit_equal(run->snapshot()->flat(), before));
}

TEST_F(TrainingRunTest, StepReportsNormLearningRateAndCount) {
  const auto run = start();
  train(*run, data_);
  const double norm = run->accumulated_gradient().norm().item<double>();
  AdamParams params = learning_rate(0.5);
  params.grad_clip_norm = norm / 10;
  const Metrics metrics = run->optim_step(params).value().metrics;
  EXPECT_NEAR(metrics.at("grad_norm"), norm, 1e-4 * norm);
  EXPECT_EQ(metrics.at("learning_rate"), 0.5);
  EXPECT_EQ(metrics.at("step"), 1);
}

TEST_F(TrainingRunTest, StepWithoutGradientsIsAUserError) {
  const auto result = start()->optim_step({});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().category(), ErrorCategory::kUser);
  EXPECT_THAT(result.error().message(), HasSubstr(kNoGradients));
}

TEST_F(TrainingRunTest, WrongAdamParametersAreNamed) {
  const auto message = [&](auto change) {
    AdamParams params;
    change(params);
    const auto run = start();
    train(*run, {data_[0]});
    const auto result = run->optim_step(params);
    EXPECT_TRUE(run->has_gradients());
    return result ? std::string("accepted") : result.error().message();
  };
  EXPECT_THAT(message([](AdamParams& p) { p.learning_rate = NAN; }),
              HasSubstr("learning_rate: expected a finite number"));
  EXPECT_THAT(message([](AdamParams& p) { p.learning_rate = -1; }),
              HasSubstr("learning_rate: expected a finite number"));
  EXPECT_THAT(message([](AdamParams& p) { p.beta1 = 1; }),
              HasSubstr("beta1: expected a number in [0, 1), got 1"));
  EXPECT_THAT(message([](AdamParams& p) { p.eps = INFINITY; }),
              HasSubstr("eps: expected a finite number above 0, got inf"));
  EXPECT_THAT(message([](AdamParams& p) { p.eps = 0; }), HasSubstr("eps"));
  EXPECT_THAT(message([](AdamParams& p) { p.grad_clip_norm = -2; }), HasSubstr("grad_clip_norm"));
}

TEST_F(TrainingRunTest, StepThatWouldOverflowChangesNothing) {
  const auto run = start();
  step(*run, data_);
  train(*run, data_);
  const at::Tensor before = run->snapshot()->flat().clone();
  const auto result = run->optim_step(learning_rate(1e39));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("nothing was changed"));
  EXPECT_THAT(result.error().message(), HasSubstr("learning rate 1e+39)"));
  EXPECT_TRUE(bit_equal(run->snapshot()->flat(), before));
  EXPECT_EQ(run->step(), 1);
}

TEST_F(TrainingRunTest, BadDatumIsNamedWithWhatWasExpected) {
  const auto one = [](std::vector<std::int64_t> tokens, std::vector<std::int64_t> targets,
                      std::vector<float> weights) {
    return cross_entropy_datum(std::move(tokens), std::move(targets), std::move(weights));
  };
  const Datum good = one({1, 2}, {2, 3}, {1, 1});
  EXPECT_THAT(refusal({}), HasSubstr("empty"));
  EXPECT_THAT(refusal({good, one({1, 50}, {2, 3}, {1, 1})}),
              AllOf(HasSubstr("datum 1: token 1 is 50"), HasSubstr("vocabulary of 50")));
  EXPECT_THAT(refusal({one({1, 2}, {2, -1}, {1, 1})}), HasSubstr("target_tokens[1] is -1"));
  EXPECT_THAT(refusal({good, good, one({1, 2}, {2}, {1})}),
              AllOf(HasSubstr("datum 2: target_tokens has shape [1]"), HasSubstr("[2]")));
  EXPECT_THAT(refusal({one({1, 2}, {2, 3}, {1})}), HasSubstr("weights has shape [1]"));
  EXPECT_THAT(refusal({one({1, 2}, {2, 3}, {1, kNan})}), HasSubstr("weights[1] is nan"));
  EXPECT_THAT(refusal({one({}, {}, {})}), HasSubstr("no tokens"));
  EXPECT_THAT(refusal({one(std::vector<std::int64_t>(49, 1), std::vector<std::int64_t>(49, 1),
                           std::vector<float>(49, 1))}),
              AllOf(HasSubstr("49 tokens"), HasSubstr("48")));
}

TEST_F(TrainingRunTest, BadLossInputsAreNamed) {
  Datum bare;
  bare.model_input = ModelInput::from_tokens(std::vector<std::int64_t>{1});
  EXPECT_THAT(refusal({bare}), HasSubstr("'target_tokens' is missing"));
  Datum extra = cross_entropy_datum({1}, {2}, {1});
  extra.loss_fn_inputs.emplace_back("mask", TensorData::from(std::vector<float>{1}));
  EXPECT_THAT(refusal({extra}), HasSubstr("mask is no input of this loss"));
  Datum twice = cross_entropy_datum({1}, {2}, {1});
  twice.loss_fn_inputs.push_back(twice.loss_fn_inputs.back());
  EXPECT_THAT(refusal({twice}), HasSubstr("given twice"));
  Datum floats = bare;
  floats.loss_fn_inputs.emplace_back("target_tokens", TensorData::from(std::vector<float>{1}));
  EXPECT_THAT(refusal({floats}), HasSubstr("float32, expected integer"));
  Datum masked = policy_datum({1}, {2}, {-1}, {1});
  masked.loss_fn_inputs.emplace_back("sequence_ratio_mask", TensorData::from(std::vector{1.0F}));
  EXPECT_THAT(refusal({masked}, "ppo"),
              AllOf(HasSubstr("sequence_ratio_mask is no input of this loss on the embedded"),
                    HasSubstr("reads target_tokens, logprobs, advantages, weights, clip_low")));
  EXPECT_THAT(refusal({data_[0]}, "unlikelihood"), HasSubstr("unknown loss 'unlikelihood'"));
  EXPECT_THAT(refusal({data_[0]}, "cross_entropy", {{"beta", 1.0}}), HasSubstr("'beta'"));
  Datum image = cross_entropy_datum({1}, {2}, {1});
  image.model_input.chunks.emplace_back(ImageChunk{"", "png", 1});
  EXPECT_THAT(refusal({image}), HasSubstr("reads text only"));
}

TEST_F(TrainingRunTest, WeightsOfAPolicyLossScaleEachPosition) {
  for (const char* loss : {"importance_sampling", "ppo", "cispo", "dro"}) {
    const auto loss_of = [&](std::vector<float> weights) {
      Datum datum = policy_datum({1, 2}, {2, 3}, {-4, -3.5}, {1, -0.5});
      if (!weights.empty()) {
        datum.loss_fn_inputs.emplace_back("weights", TensorData::from(std::move(weights)));
      }
      const auto run = start();
      const auto output = run->forward_backward({&datum, 1}, loss, {}, false);
      EXPECT_TRUE(output) << output.error().what();
      return std::pair(output->metrics.at("loss:sum"), run->accumulated_gradient());
    };
    const auto [plain, gradient] = loss_of({});
    EXPECT_EQ(loss_of({1, 1}).first, plain) << loss;
    const auto [first, first_gradient] = loss_of({2, 0});
    const auto [second, second_gradient] = loss_of({0, 2});
    EXPECT_NEAR(first + second, 2 * plain, 1e-6 * std::abs(plain)) << loss;
    EXPECT_LT(relative_error(first_gradient + second_gradient, 2 * gradient), 1e-4) << loss;
    EXPECT_EQ(loss_of({0, 0}).first, 0) << loss;
  }
}

TEST_F(TrainingRunTest, OverflowingRatioIsAUserErrorAndAddsNothing) {
  const auto run = start();
  train(*run, {data_[0]});
  const at::Tensor before = run->accumulated_gradient().clone();
  const std::vector<Datum> data{policy_datum({1, 2}, {2, 3}, {-1, -2000}, {1, 1})};
  const auto result = run->forward_backward(data, "importance_sampling", {}, false);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().category(), ErrorCategory::kUser);
  EXPECT_THAT(result.error().message(), HasSubstr("datum 0, position 1"));
  EXPECT_TRUE(bit_equal(run->accumulated_gradient(), before));
}

TEST_F(TrainingRunTest, CancelledBatchAddsNothing) {
  const auto run = start();
  train(*run, {data_[0]});
  const at::Tensor before = run->accumulated_gradient().clone();
  const std::atomic<bool> cancelled = true;
  for (const bool forward_only : {false, true}) {
    const auto result = run->forward_backward(data_, "cross_entropy", {}, forward_only, &cancelled);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), ErrorCode::kCancelled);
  }
  EXPECT_TRUE(bit_equal(run->accumulated_gradient(), before));
}

TEST_F(TrainingRunTest, GradientThatIsNotFiniteAddsNothing) {
  const auto run = start();
  const std::vector<Datum> data{cross_entropy_datum({1, 2}, {2, 3}, {3e38F, 3e38F})};
  const auto result = run->forward_backward(data, "cross_entropy", {}, false);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("not finite"));
  EXPECT_FALSE(run->has_gradients());
}

TEST_F(TrainingRunTest, ImpossibleLoraConfigurationsAreRefused) {
  const auto message = [&](LoraConfig config) {
    const auto run = TrainingRun::create(model_, config);
    return run ? std::string("accepted") : run.error().message();
  };
  EXPECT_THAT(message(rank(0)), HasSubstr("rank is 0, expected 1 to 12"));
  EXPECT_THAT(message(rank(13)), HasSubstr("rank is 13, expected 1 to 12"));
  LoraConfig nothing = rank(4);
  nothing.train_attn = nothing.train_mlp = nothing.train_unembed = false;
  EXPECT_THAT(message(nothing), HasSubstr("trains nothing"));
}

TEST_F(TrainingRunTest, AbsentSeedIsDrawnAndRecorded) {
  const auto first = TrainingRun::create(model_, rank(4)).value();
  const auto second = TrainingRun::create(model_, rank(4)).value();
  ASSERT_TRUE(first->lora_config().seed);
  EXPECT_NE(first->lora_config().seed, second->lora_config().seed);
  const auto again = TrainingRun::create(model_, first->lora_config()).value();
  EXPECT_TRUE(bit_equal(first->snapshot()->flat(), again->snapshot()->flat()));
}

TEST_F(TrainingRunTest, TinyModelMemorisesASentence) {
  const auto model = built_in_model("tinkex/nano").value();
  const auto run = TrainingRun::create(model, seeded(8, 1)).value();
  const auto text = model->tokenizer().encode("the quick brown fox jumps over a lazy dog");
  const std::vector<Datum> data{cross_entropy_datum({text.begin(), text.end() - 1},
                                                    {text.begin() + 1, text.end()},
                                                    std::vector<float>(text.size() - 1, 1))};
  const double before = step(*run, data);
  for (int i = 0; i < 150; ++i) step(*run, data);
  const double after = train(*run, data).metrics.at("loss:sum");
  EXPECT_GT(before / static_cast<double>(text.size()), 3.0);
  EXPECT_LT(after, before / 50);
}

TEST_F(TrainingRunTest, RewardForATokenRaisesItsRate) {
  const auto model = built_in_model("tinkex/nano").value();
  const auto run = TrainingRun::create(model, seeded(8, 1)).value();
  constexpr std::int32_t kWanted = 'x';
  SampleRequest request;
  request.prompt = ModelInput::from_tokens(std::vector<std::int64_t>{'a', 'b'});
  request.num_samples = 64;
  request.params.max_tokens = 1;
  double first = -1, rate = 0;
  for (std::uint64_t round = 0; round < 40; ++round) {
    request.params.seed = round;
    const auto response = sample(model, run->snapshot(), request, nullptr).value();
    std::vector<Datum> data;
    rate = 0;
    for (const SampledSequence& s : response.sequences) {
      const bool hit = s.tokens[0] == kWanted || s.tokens[0] % 2 == 0;
      rate += hit ? 1.0 / 64 : 0;
      data.push_back(policy_datum({'a', 'b'}, {'b', s.tokens[0]}, {0, s.logprobs[0]},
                                  {0, hit ? 0.5F : -0.5F}));
    }
    if (first < 0) first = rate;
    run->forward_backward(data, "importance_sampling", {}, false).value();
    run->optim_step(learning_rate(1e-2)).value();
  }
  EXPECT_LT(first, 0.8);
  EXPECT_GT(rate, 0.95);
}

TEST(AdamWTest, ThreeStepsAgreeWithTheClosedForm) {
  const std::vector<std::vector<double>> gradients{
      {0.5, -2.0, 0.0}, {0.1, 1.0, 3.0}, {-4.0, 0.2, 0.3}};
  const std::vector<AdamParams> steps{{0.1, 0.9, 0.95, 1e-12, 0.0, 0.0},
                                      {0.05, 0.8, 0.99, 1e-8, 0.1, 1.5},
                                      {0.2, 0.9, 0.95, 1e-12, 0.01, 100.0}};
  std::vector<double> theta{1.0, -1.0, 0.25}, m(3), v(3);
  at::Tensor ours =
      at::Tensor(noisy_adapter(*small_model(at::ScalarType::Double), rank(1), 1)->flat())
          .narrow(0, 0, 3)
          .clone();
  std::copy(theta.begin(), theta.end(), ours.mutable_data_ptr<double>());
  OptimizerState state;
  for (std::size_t t = 0; t < 3; ++t) {
    const AdamParams& p = steps[t];
    at::Tensor gradient = ours.clone();
    std::copy(gradients[t].begin(), gradients[t].end(), gradient.mutable_data_ptr<double>());
    double norm = 0;
    for (const double g : gradients[t]) norm += g * g;
    norm = std::sqrt(norm);
    const double factor =
        p.grad_clip_norm > 0 ? std::min(1.0, p.grad_clip_norm / (norm + 1e-6)) : 1;
    for (std::size_t i = 0; i < 3; ++i) {
      const double g = gradients[t][i] * factor;
      theta[i] *= 1 - p.learning_rate * p.weight_decay;
      m[i] = p.beta1 * m[i] + (1 - p.beta1) * g;
      v[i] = p.beta2 * v[i] + (1 - p.beta2) * g * g;
      const double steps_taken = static_cast<double>(t + 1);
      theta[i] -= p.learning_rate * (m[i] / (1 - std::pow(p.beta1, steps_taken))) /
                  (std::sqrt(v[i] / (1 - std::pow(p.beta2, steps_taken))) + p.eps);
    }
    AdamWResult result = adamw(ours, gradient, state, p).value();
    EXPECT_NEAR(result.gradient_norm, norm, 1e-12);
    ours = result.parameters;
    state = result.state;
    for (std::size_t i = 0; i < 3; ++i) {
      EXPECT_NEAR(ours.const_data_ptr<double>()[i], theta[i], 1e-12) << "step " << t << ", " << i;
    }
  }
  EXPECT_EQ(state.step, 3);
}

TEST(LoraLayoutTest, CountsTheParametersOfPublishedModels) {
  ModelConfig llama;  // Llama 3.2 1B.
  llama.vocab_size = 128256;
  llama.hidden_size = 2048;
  llama.intermediate_size = 8192;
  llama.num_hidden_layers = 16;
  llama.num_attention_heads = 32;
  llama.num_key_value_heads = 8;
  llama.head_dim = 64;
  EXPECT_EQ(LoraLayout::create(llama, rank(32)).value()->size(), 32 * (212992 + 491520 + 130304));
}

TEST(MicroBatchTest, KeepsTheBudgetAndEveryDatum) {
  const std::vector<std::int64_t> lengths{5, 1, 9, 7, 9, 3, 12, 40};
  const auto batches = plan_micro_batches(lengths, 20);
  std::vector<int> seen(lengths.size());
  for (const MicroBatch& batch : batches) {
    const auto count = static_cast<std::int64_t>(batch.datums.size());
    EXPECT_TRUE(count == 1 || count * batch.length <= 20);
    for (const std::size_t datum : batch.datums) {
      ++seen[datum];
      EXPECT_LE(lengths[datum], batch.length);
    }
  }
  EXPECT_EQ(seen, std::vector<int>(lengths.size(), 1));
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
