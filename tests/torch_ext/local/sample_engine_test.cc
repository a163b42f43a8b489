#include "torch_ext/local/sample_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <optional>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/local/decode_step.h"
#include "torch_ext/local/prefill.h"
#include "torch_ext/local/thread_limit.h"

namespace tinkex::torch_ext::local::testing {
namespace {

using ::testing::HasSubstr;

class SampleEngineTest : public ::testing::Test {
 protected:
  /// Prompts of 1 to 8 tokens, 1 to 40 to draw, at temperatures of 0 to 1.5.
  SampleRequest request(int number) const {
    SampleRequest out;
    out.prompt = ModelInput::from_tokens(random_tokens(
        1 + number * 5 % 8, model_->config().vocab_size, static_cast<std::uint64_t>(number)));
    out.params.max_tokens = 1 + number * 11 % 40;
    out.params.temperature = 0.5 * (number % 4);
    out.params.seed = static_cast<std::uint64_t>(number);
    out.num_samples = 1 + number % 3;
    out.params.stop.emplace();
    return out;
  }
  /// Puts `request` into the engine; its answer comes to answers_[n].
  void add(SampleEngine& engine, const SampleRequest& request,
           std::function<bool()> cancelled = nullptr) {
    const std::size_t n = answers_.size();
    answers_.emplace_back();
    engine.add(request, std::move(cancelled), [this, n](Result<SampleResponse> answer) {
      EXPECT_FALSE(answers_[n]) << "answered twice";
      answers_[n].emplace(std::move(answer));
    });
  }
  static void run(SampleEngine& engine) {
    while (!engine.idle()) engine.step();
  }
  void expect_equal(const SampleResponse& a, const SampleResponse& b, std::size_t n) const {
    ASSERT_EQ(a.sequences.size(), b.sequences.size());
    for (std::size_t i = 0; i < a.sequences.size(); ++i) {
      EXPECT_EQ(a.sequences[i].tokens, b.sequences[i].tokens) << "request " << n;
      EXPECT_EQ(a.sequences[i].logprobs, b.sequences[i].logprobs) << "request " << n;
    }
  }

  std::shared_ptr<const BaseModel> model_ = small_model(at::ScalarType::Float);
  std::shared_ptr<const Adapter> adapter_ = noisy_adapter(*model_, rank(4), 61);
  std::vector<std::optional<Result<SampleResponse>>> answers_;
};

TEST_F(SampleEngineTest, ABaseThatIsNotFiniteIsNotBlamedOnTheAdapterAlone) {
  Weights weights = random_weights(small_config(), 1);
  weights.at("model.norm.weight").fill_(NAN);
  const auto broken = model_of(small_config(), weights, at::ScalarType::Float);
  const auto answer = sample(broken, nullptr, request(1), nullptr);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message(), HasSubstr("the base model's files hold numbers that"));
  EXPECT_THROW(pass(*broken, *adapter_, {cross_entropy_datum({1}, {2}, {1})}), Error);
}

TEST_F(SampleEngineTest, RequestGetsTheSameBitsAloneAndAmongOthers) {
  SampleEngine engine(model_, adapter_);
  for (int i = 0; i < 50; ++i) add(engine, request(i));
  run(engine);
  for (std::size_t i = 0; i < 50; ++i) {
    ASSERT_TRUE(answers_[i]);
    expect_equal(answers_[i]->value(),
                 sample(model_, adapter_, request(static_cast<int>(i)), nullptr).value(), i);
  }
}

TEST_F(SampleEngineTest, RequestThatComesInTheMiddleGetsTheSameBits) {
  SampleEngine engine(model_, adapter_);
  for (int i = 0; i < 20; ++i) {
    add(engine, request(i));
    for (int steps = 0; steps < i % 5; ++steps) engine.step();
  }
  run(engine);
  for (std::size_t i = 0; i < 20; ++i) {
    expect_equal(answers_[i]->value(),
                 sample(model_, adapter_, request(static_cast<int>(i)), nullptr).value(), i);
  }
}

TEST_F(SampleEngineTest, MoreSamplesThanThereIsRoomForAreCarriedOn) {
  SampleRequest many = request(5);
  many.num_samples = 200;
  SampleEngine engine(model_, adapter_);
  add(engine, many);
  add(engine, request(6));
  run(engine);
  const SampleResponse response = answers_[0]->value();
  ASSERT_EQ(response.sequences.size(), 200U);
  for (const SampledSequence& sequence : response.sequences) {
    EXPECT_EQ(sequence.tokens.size(), static_cast<std::size_t>(*many.params.max_tokens));
  }
  many.num_samples = 3;
  const SampleResponse few = sample(model_, adapter_, many, nullptr).value();
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(few.sequences[i].tokens, response.sequences[i].tokens);
  }
  EXPECT_TRUE(answers_[1]->ok());
}

TEST_F(SampleEngineTest, CancelledRequestEndsAndTheOthersGoOn) {
  SampleEngine engine(model_, adapter_);
  bool cancelled = false;
  add(engine, request(8));
  add(engine, request(9), [&cancelled] { return cancelled; });
  for (int i = 0; i < 5; ++i) engine.step();
  ASSERT_FALSE(answers_[1]);
  cancelled = true;
  engine.step();
  ASSERT_TRUE(answers_[1]);
  EXPECT_EQ(answers_[1]->error().code(), ErrorCode::kCancelled);
  run(engine);
  expect_equal(answers_[0]->value(), sample(model_, adapter_, request(8), nullptr).value(), 0);
}

TEST_F(SampleEngineTest, RequestThatIsGivenUpChangesNoBitOfItsNeighbours) {
  SampleEngine engine(model_, adapter_);
  bool given_up = false;
  add(engine, request(8));
  add(engine, request(9), [&given_up] { return given_up; });
  add(engine, request(10));
  for (int i = 0; i < 6; ++i) engine.step();
  ASSERT_FALSE(answers_[1]);
  given_up = true;
  engine.step();
  ASSERT_TRUE(answers_[1]);
  EXPECT_EQ(answers_[1]->error().code(), ErrorCode::kCancelled);
  run(engine);
  for (const int number : {8, 10}) {
    const auto n = static_cast<std::size_t>(number - 8);
    expect_equal(answers_[n]->value(), sample(model_, adapter_, request(number), nullptr).value(),
                 n);
  }
}

TEST_F(SampleEngineTest, APromptThatIsCancelledIsNotReadToItsEnd) {
  const SamplePlan plan = SamplePlan::of(request(3), model_->config()).value();
  const auto views =
      AdapterViews::of(&adapter_->layout(), adapter_->flat(), model_->config().num_hidden_layers);
  SampleOptions options;
  options.prompt_logprobs = true;
  const std::int64_t layers = model_->config().num_hidden_layers;
  // Before each layer, and after the one part of the log-probabilities.
  for (std::int64_t answered = 0; answered <= layers; ++answered) {
    std::int64_t asked = 0;
    SampleResponse response;
    const auto read = prefill(
        *model_, views, plan, options, [&] { return asked++ == answered; }, response);
    ASSERT_FALSE(read) << answered;
    EXPECT_EQ(read.error().code(), ErrorCode::kCancelled);
    EXPECT_EQ(asked, answered + 1);
    EXPECT_EQ(response.prompt_logprobs.empty(), answered < layers);
  }
}

TEST_F(SampleEngineTest, ImpossibleRequestIsAnsweredAtOnceAndTheOthersGoOn) {
  SampleEngine engine(model_, adapter_);
  add(engine, request(8));
  SampleRequest wrong = request(9);
  wrong.prompt = ModelInput::from_tokens(std::vector<std::int64_t>{1'000'000});
  add(engine, wrong);
  ASSERT_TRUE(answers_[1]);
  EXPECT_THAT(answers_[1]->error().message(), HasSubstr("outside the vocabulary"));
  run(engine);
  EXPECT_TRUE(answers_[0]->ok());
}

TEST_F(SampleEngineTest, FailingAllAnswersWaitingAndRunningRequests) {
  SampleEngine engine(model_, adapter_);
  for (int i = 0; i < 5; ++i) add(engine, request(i + 20));
  for (int i = 0; i < 3; ++i) engine.step();
  engine.fail_all(Error(ErrorCode::kInternal, "no more"));
  EXPECT_TRUE(engine.idle());
  for (const auto& answer : answers_) {
    ASSERT_TRUE(answer);
    EXPECT_FALSE(answer->ok());
  }
}

/// Large enough for threads inside every operation.
std::shared_ptr<const BaseModel> large_model() {
  ModelConfig config = small_config();
  config.vocab_size = 90'000;
  config.hidden_size = 256;
  config.intermediate_size = 1024;
  config.num_hidden_layers = 4;
  config.max_position_embeddings = 128;
  return BaseModel::random(config, 3).value();
}

TEST_F(SampleEngineTest, NumberOfThreadsDoesNotChangeTheBits) {
  const auto model = large_model();
  const ModelConfig& config = model->config();
  ASSERT_TRUE(worth_threads_per_row(model->config()));
  // A scale, 32 / 12, that is no power of two.
  const auto adapter = noisy_adapter(*model, rank(12), 5);
  const auto views =
      AdapterViews::of(&adapter->layout(), adapter->flat(), config.num_hidden_layers);
  const SamplePlan plan = SamplePlan::of(request(3), config).value();
  SampleResponse response;
  const Prefilled read = prefill(*model, views, plan, {}, nullptr, response).value();
  const auto logits = [&](int threads, std::int64_t count) {
    const Threads limit(threads);
    std::vector<SequenceCache> caches(static_cast<std::size_t>(count),
                                      SequenceCache(read.cache, config, at::ScalarType::Float));
    std::vector<DecodeRow> rows;
    for (SequenceCache& cache : caches) {
      rows.push_back({7 + static_cast<std::int64_t>(rows.size()), &cache});
    }
    return decode_step(*model, views, rows);
  };
  const at::Tensor one = logits(1, 5);
  const at::Tensor three = logits(3, 5);
  const at::Tensor alone = logits(3, 1);
  EXPECT_TRUE(bit_equal(one, three));
  EXPECT_TRUE(bit_equal(one.narrow(0, 0, 1), alone));
}

TEST_F(SampleEngineTest, NumberOfThreadsDoesNotChangeWhatIsReadInAPrompt) {
  const auto model = large_model();
  const auto adapter = noisy_adapter(*model, rank(12), 5);
  const auto views =
      AdapterViews::of(&adapter->layout(), adapter->flat(), model->config().num_hidden_layers);
  SamplePlan plan = SamplePlan::of(request(3), model->config()).value();
  for (std::int64_t i = 0; i < 70; ++i) plan.prompt.push_back(i * 1'237 % 90'000);
  ASSERT_TRUE(worth_threads(model->config(), plan.prompt_length()));
  SampleOptions options;
  options.prompt_logprobs = true;
  const auto on = [&](int threads, SampleResponse& response) {
    const Threads limit(threads);
    return prefill(*model, views, plan, options, nullptr, response).value();
  };
  SampleResponse first;
  const Prefilled one = on(1, first);
  SampleResponse second;
  const Prefilled three = on(3, second);
  EXPECT_TRUE(bit_equal(one.logits, three.logits));
  ASSERT_EQ(std::ssize(first.prompt_logprobs), plan.prompt_length());
  for (std::size_t i = 1; i < first.prompt_logprobs.size(); ++i) {  // The first is no number.
    ASSERT_EQ(first.prompt_logprobs[i], second.prompt_logprobs[i]) << i;
  }
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
