// Losses over whole logits, from a client's call to the step that applies them.

#include "torch_ext/logits_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/log_softmax.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "torch_ext/connect.h"

namespace tinkex::torch_ext {
namespace {

using testing::AllOf;
using testing::HasSubstr;

at::Tensor cross_entropy(const at::Tensor& logits, const LossInputs& inputs) {
  const at::Tensor targets = inputs["target_tokens"].unsqueeze(1);
  const at::Tensor p = at::log_softmax(logits, -1).gather(1, targets).squeeze(1);
  return -(p * inputs["weights"]).sum();
}

/// The model should expect the `wanted` token everywhere.
at::Tensor expect_wanted(const at::Tensor& logits, const LossInputs& inputs) {
  const auto wanted = inputs["wanted"].item<std::int64_t>();
  return -at::log_softmax(logits, -1).select(1, wanted).sum();
}

at::Tensor refuse_everything(const at::Tensor&, const LossInputs&) {
  throw std::runtime_error("no luck");
}

Datum datum(std::vector<std::int64_t> tokens, NamedTensors inputs) {
  Datum made;
  made.model_input = ModelInput::from_tokens(std::move(tokens));
  made.loss_fn_inputs = std::move(inputs);
  return made;
}

template <class T>
TensorData data(std::vector<T> values) {
  return TensorData::from(std::move(values));
}

class LogitsLossTest : public testing::Test {
 protected:
  static ConnectOptions options() {
    ConnectOptions options;
    options.where = Backend::kEmbedded;
    options.embedded.losses = {
        {"by_hand", cross_entropy}, {"wanted", expect_wanted}, {"refusing", refuse_everything}};
    return options;
  }

  TrainingClient trainer() {
    return connection_.service.create_lora_training_client("tinkex/nano", {.rank = 4, .seed = 1})
        .get()
        .value();
  }

  Connection connection_ = connect(options()).value();
  const std::vector<Datum> texts_{
      datum({1, 2, 3}, {{"target_tokens", data<std::int64_t>({2, 3, 4})},
                        {"weights", data<float>({1, 0.5F, 0})}}),
      datum({9, 8},
            {{"target_tokens", data<std::int64_t>({8, 7})}, {"weights", data<float>({1, 2})}})};
  const std::vector<Datum> wishes_{datum({1, 2, 3}, {{"wanted", data<std::int64_t>({40})}}),
                                   datum({9, 8}, {{"wanted", data<std::int64_t>({41})}})};
};

TEST_F(LogitsLossTest, OneCallTrainsLikeTheBuiltInLossOfThatFormula) {
  TrainingClient ours = trainer();
  TrainingClient theirs = trainer();
  for (int step = 0; step < 3; ++step) {
    auto pass = ours.forward_backward(texts_, "by_hand");
    auto built_in = theirs.forward_backward(texts_, loss::kCrossEntropy);
    auto update = ours.optim_step({.learning_rate = 1e-2});
    auto reference = theirs.optim_step({.learning_rate = 1e-2});
    const double norm = reference.get().value().metrics.at("grad_norm");
    EXPECT_NEAR(update.get().value().metrics.at("grad_norm"), norm, 1e-4 * norm);
    const ForwardBackwardOutput a = pass.get().value();
    const ForwardBackwardOutput b = built_in.get().value();
    EXPECT_NEAR(a.metrics.at("loss:sum"), b.metrics.at("loss:sum"), 1e-3);
    for (std::size_t i = 0; i < texts_.size(); ++i) {
      const auto p = find(a.loss_fn_outputs[i], "logprobs")->to_floats();
      const auto q = find(b.loss_fn_outputs[i], "logprobs")->to_floats();
      EXPECT_THAT(p, testing::Pointwise(testing::FloatNear(1e-3F), q));
    }
  }
}

TEST_F(LogitsLossTest, StepsLowerALossThatTheApiDoesNotHave) {
  TrainingClient model = trainer();
  const double before = model.forward(wishes_, "wanted").get().value().metrics.at("loss:sum");
  for (int step = 0; step < 10; ++step) {
    ASSERT_TRUE(model.forward_backward(wishes_, "wanted").get().ok());
    ASSERT_TRUE(model.optim_step({.learning_rate = 1e-2}).get().ok());
  }
  const ForwardBackwardOutput after = model.forward(wishes_, "wanted").get().value();
  EXPECT_LT(after.metrics.at("loss:sum"), 0.8 * before);
  ASSERT_EQ(after.loss_fn_outputs.size(), 2U);
  EXPECT_TRUE(after.loss_fn_outputs[0].empty());
}

TEST_F(LogitsLossTest, WhatTheFunctionThrowsReachesTheCaller) {
  const auto result = trainer().forward_backward(texts_, "refusing").get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().category(), ErrorCategory::kUser);
  EXPECT_THAT(result.error().message(),
              AllOf(HasSubstr("the loss 'refusing' failed: no luck"), HasSubstr("datum ")));
}

TEST_F(LogitsLossTest, UnknownNameIsAnsweredWithTheKnownOnes) {
  const auto result = trainer().forward_backward(texts_, "by_hnad").get();
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(result.error().message(), HasSubstr("gspo, by_hand, refusing, wanted"));
}

TEST_F(LogitsLossTest, BackendDoesNotStartWithALossUnderANameOfTheApi) {
  ConnectOptions wrong = options();
  wrong.embedded.losses.emplace("ppo", cross_entropy);
  const Result<Connection> connection = connect(std::move(wrong));
  ASSERT_FALSE(connection.ok());
  EXPECT_EQ(connection.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_THAT(connection.error().message(), HasSubstr("ppo"));
}

}  // namespace
}  // namespace tinkex::torch_ext
