// A remote model's calls, step by step, against a connection that remembers them.

#include "torch_ext/remote_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/schedulers/step_lr.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "tests/torch_ext/remote_model_double.h"
#include "torch_ext/remote_adamw.h"

namespace tinkex::torch_ext {
namespace {

using testing::ElementsAre;
using testing::FloatEq;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(RemoteModelTest, ALossBecomesTheWeightsOfOneBackwardPass) {
  const at::Tensor p = logprobs();
  EXPECT_TRUE(at::equal(p.detach(), torch::tensor({-3.0F / 8, -0.5F})));
  (p * torch::tensor({2.0F, -1.0F})).sum().backward();
  optimizer_.step();
  EXPECT_THAT(server_->calls,
              ElementsAre("forward cross_entropy 1", "train cross_entropy 1", "step"));
  ASSERT_EQ(server_->trained.size(), 1u);
  EXPECT_THAT(server_->trained[0].tokens, ElementsAre(1, 2));
  EXPECT_THAT(server_->trained[0].inputs["target_tokens"], ElementsAre(3, 4));
  EXPECT_THAT(server_->trained[0].inputs["weights"], ElementsAre(FloatEq(-2), FloatEq(1)));
}

TEST_F(RemoteModelTest, SeveralForwardPassesOfALossShareOneBackwardPass) {
  const at::Tensor first = logprobs();
  const at::Tensor second = logprobs();
  (first.sum() * second.sum()).backward();
  EXPECT_THAT(server_->calls, ElementsAre("forward cross_entropy 1", "forward cross_entropy 1",
                                          "train cross_entropy 2"));
}

TEST_F(RemoteModelTest, PaddingIsNotSentAndHasNoGradient) {
  const at::Tensor tokens = torch::tensor({{1, 2, 3}, {4, 5, 0}, {0, 0, 0}}).to(at::kInt);
  const at::Tensor targets = torch::tensor({{2, -100, 8}, {5, -100, -100}, {-100, -100, -100}});
  const at::Tensor p = model_->forward(tokens, targets);
  EXPECT_TRUE(at::equal(
      p.detach(),
      torch::tensor({{-0.25F, 0.0F, -1.0F}, {-5.0F / 8, 0.0F, 0.0F}, {0.0F, 0.0F, 0.0F}})));
  p.sum().backward();
  ASSERT_EQ(server_->trained.size(), 2u);
  EXPECT_THAT(server_->trained[0].inputs["weights"], ElementsAre(-1, 0, -1));
  EXPECT_THAT(server_->trained[1].tokens, ElementsAre(4));
  EXPECT_THAT(server_->trained[1].inputs["weights"], ElementsAre(-1));
}

// As gather(..., sparse_grad=true) gives it.
TEST_F(RemoteModelTest, ASparseGradientBecomesWeightsToo) {
  const at::Tensor p = model_->forward(torch::tensor({{1, 2, 3}}), torch::tensor({{2, -100, 8}}));
  p.gather(1, torch::tensor({{2, 1, 2}}), /*sparse_grad=*/true).sum().backward();
  ASSERT_EQ(server_->trained.size(), 1u);
  EXPECT_THAT(server_->trained[0].inputs["weights"], ElementsAre(0, 0, -2));
}

TEST_F(RemoteModelTest, ASparseGradientReachesTheServersLossToo) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  const at::Tensor theirs = model_->loss(loss::kCrossEntropy, batch);
  theirs.gather(0, torch::tensor(0), /*sparse_grad=*/true).backward();
  optimizer_.step();
  EXPECT_THAT(server_->calls, ElementsAre("train cross_entropy 1", "step"));
}

TEST_F(RemoteModelTest, SeveralTargetsPerPositionKeepTheirShape) {
  const at::Tensor tokens = torch::tensor({{1, 2}, {3, 4}});
  const at::Tensor targets = torch::tensor({{{1, 2, 3}, {4, 5, 6}}, {{7, 8, 9}, {1, 1, 1}}});
  EXPECT_EQ(model_->forward(tokens, targets).sizes(), (at::IntArrayRef{2, 2, 3}));
  const auto lists = model_->forward_list(
      {ints({1, 2}), ints({3})}, {torch::tensor({{1, 2}, {3, 4}}), torch::tensor({{5, 6}})});
  ASSERT_EQ(lists.size(), 2u);
  EXPECT_EQ(lists[0].sizes(), (at::IntArrayRef{2, 2}));
  EXPECT_TRUE(at::equal(lists[1].detach(), torch::tensor({{-5.0F / 8, -0.75F}})));
}

TEST_F(RemoteModelTest, TensorsMayBeOverwrittenBetweenForwardAndBackward) {
  at::Tensor tokens = ints({1, 2});
  at::Tensor targets = ints({3, 4});
  const at::Tensor p = model_->forward_list({tokens}, {targets}).front();
  tokens.fill_(9);
  targets.fill_(9);
  p.sum().backward();
  EXPECT_THAT(server_->trained[0].tokens, ElementsAre(1, 2));
  EXPECT_THAT(server_->trained[0].inputs["target_tokens"], ElementsAre(3, 4));
}

TEST_F(RemoteModelTest, ViewsThatAreShiftedByAPositionAreReadByTheirStrides) {
  const at::Tensor ids = torch::tensor({{1, 2, 3}, {4, 5, 6}});
  for (const at::ScalarType type : {at::kLong, at::kInt}) {
    const at::Tensor text = ids.to(type);
    const at::Tensor p = model_->forward(text.slice(1, 0, 2), text.slice(1, 1, 3));
    EXPECT_TRUE(at::equal(p.detach(), ids.slice(1, 1, 3).to(at::kFloat) / -8));
    p.sum().backward();
    ASSERT_EQ(server_->trained.size(), 2u);
    EXPECT_THAT(server_->trained[1].tokens, ElementsAre(4, 5));
    EXPECT_THAT(server_->trained[1].inputs["target_tokens"], ElementsAre(5, 6));
  }
}

TEST_F(RemoteModelTest, TheIdsOfAllSequencesAreOneCopy) {
  const auto connection = std::make_shared<FakeTraining>();
  std::vector<const std::byte*> tokens, targets;
  connection->look = [&](std::span<const Datum> data) {
    for (const Datum& datum : data) {
      tokens.push_back(std::get<EncodedTextChunk>(datum.model_input.chunks.front()).tokens.data());
      targets.push_back(find(datum.loss_fn_inputs, "target_tokens")->data());
    }
  };
  connection->output = Error(ErrorCode::kTimeout, "no answer");
  RemoteModel model{TrainingClient(connection)};
  const auto forward_list = [&] {
    model->forward_list({ints({1, 2}), ints({3})}, {ints({4, 5}), ints({6})});
  };
  EXPECT_THAT(thrown_by(forward_list), HasSubstr("no answer"));
  EXPECT_THAT(thrown_by([&] {
                const at::Tensor batch = torch::tensor({{1, 2}, {3, 4}});
                model->forward(batch, batch);
              }),
              HasSubstr("no answer"));
  constexpr std::ptrdiff_t kTwoIds = 2 * sizeof(std::int64_t);
  for (const auto& of_all : {tokens, targets}) {
    ASSERT_EQ(of_all.size(), 4u);
    EXPECT_EQ(of_all[1] - of_all[0], kTwoIds);
    EXPECT_EQ(of_all[3] - of_all[2], kTwoIds);
  }
}

TEST_F(RemoteModelTest, WithoutGradientsThereIsAForwardPassAlone) {
  const torch::NoGradGuard no_grad;
  EXPECT_FALSE(logprobs().requires_grad());
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  EXPECT_FLOAT_EQ(model_->loss(loss::kCrossEntropy, batch).item<float>(), 7.0F / 8);
  EXPECT_THAT(server_->calls, ElementsAre("forward cross_entropy 1", "forward cross_entropy 1"));
}

TEST_F(RemoteModelTest, TheOptimizerSendsWhatItsOptionsHold) {
  RemoteAdamWOptions options = torch::optim::AdamWOptions(0.5).betas({0.7, 0.8}).eps(1e-3);
  RemoteAdamW optimizer(model_, options.grad_clip_norm(4));
  torch::optim::StepLR schedule(optimizer, 1, 0.1);
  logprobs().sum().backward();
  for (int epoch = 0; epoch < 2; ++epoch) schedule.step();
  optimizer.step();
  EXPECT_DOUBLE_EQ(server_->adam.learning_rate, 0.05);
  EXPECT_EQ(server_->adam.beta1, 0.7);
  EXPECT_EQ(server_->adam.beta2, 0.8);
  EXPECT_EQ(server_->adam.eps, 1e-3);
  EXPECT_EQ(server_->adam.weight_decay, 1e-2);  // AdamWOptions' own default
  EXPECT_EQ(server_->adam.grad_clip_norm, 4);
  EXPECT_EQ(optimizer.metrics().at("grad_norm"), 2.5);
}

TEST_F(RemoteModelTest, AnOptionThatTheApiLacksIsRefused) {
  EXPECT_THAT(thrown_by([] { RemoteAdamWOptions(torch::optim::AdamWOptions().amsgrad(true)); }),
              HasSubstr("amsgrad"));
}

TEST_F(RemoteModelTest, AStepWithoutAGradientSendsNothing) {
  optimizer_.zero_grad();
  optimizer_.step();
  EXPECT_THAT(server_->calls, IsEmpty());
}

TEST_F(RemoteModelTest, GradientsAccumulateUntilAStep) {
  for (int i = 0; i < 3; ++i) logprobs().sum().backward();
  optimizer_.step();
  optimizer_.step();  // nothing is left
  EXPECT_EQ(std::count(server_->calls.begin(), server_->calls.end(), "step"), 1);
  EXPECT_EQ(server_->calls.size(), 7u);
}

TEST_F(RemoteModelTest, AClosureGivesItsLoss) {
  const at::Tensor loss = optimizer_.step([&] {
    at::Tensor sum = logprobs().sum();
    sum.backward();
    return sum;
  });
  EXPECT_FLOAT_EQ(loss.item<float>(), -7.0F / 8);
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, LocalModulesTrainBesideIt) {
  torch::nn::Linear scale(torch::nn::LinearOptions(1, 1).bias(false));
  torch::optim::SGD local(scale->parameters(), 0.1);
  const at::Tensor p = logprobs();
  scale->forward(p.unsqueeze(1)).sum().backward();
  EXPECT_FLOAT_EQ(scale->weight.grad().item<float>(), -7.0F / 8);
  local.step();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, TheServersLossCostsOnePassAndJoinsASum) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  const at::Tensor theirs = model_->loss(loss::kCrossEntropy, batch);
  (theirs + logprobs().sum()).backward();
  optimizer_.step();
  EXPECT_THAT(server_->calls, ElementsAre("train cross_entropy 1", "forward cross_entropy 1",
                                          "train cross_entropy 1", "step"));
}

TEST_F(RemoteModelTest, AFactorBeforeTheServersLossIsRefused) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  const at::Tensor loss = model_->loss(loss::kCrossEntropy, batch) * 0.5;
  EXPECT_THAT(thrown_by([&] { loss.backward(); }), HasSubstr("multiplied by 0.5"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("backward() was not called"));
  model_->accept_server_gradient();
  optimizer_.step();
  EXPECT_THAT(server_->calls, ElementsAre("train cross_entropy 1", "step"));
}

TEST_F(RemoteModelTest, WhatAServerCannotDoIsRefused) {
  const at::Tensor p = logprobs();
  EXPECT_THAT(thrown_by([&] { p.pow(2).sum().backward({}, true, /*create_graph=*/true); }),
              HasSubstr("no second derivative"));
  p.sum().backward();
  EXPECT_THAT(thrown_by([&] { p.sum().backward(); }), HasSubstr("second time"));
  const at::Tensor stale = logprobs();
  optimizer_.step();
  EXPECT_THAT(thrown_by([&] { stale.sum().backward(); }),
              HasSubstr("a step() or load_state() came between"));
  EXPECT_THAT(thrown_by([&] {
                torch::serialize::OutputArchive archive;
                model_->save(archive);
              }),
              HasSubstr("save_state"));
}

TEST_F(RemoteModelTest, ACopyOfTheHandleIsTheSameModelAndAClonedOneIsRefused) {
  RemoteModel copy = model_;
  copy->forward_list({ints({1, 2})}, {ints({3, 4})}).front().sum().backward();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
  EXPECT_THAT(thrown_by([&] { model_->clone(); }),
              HasSubstr("create_training_client_from_state(path)"));
}

/// A module of the user's that has a remote model among its parts.
struct PairImpl final : torch::nn::Cloneable<PairImpl> {
  explicit PairImpl(RemoteModel model) : remote(std::move(model)) { reset(); }
  void reset() override { register_module("remote", remote); }
  RemoteModel remote;
};

TEST_F(RemoteModelTest, AModuleAroundItIsNotClonedEither) {
  PairImpl around(model_);
  EXPECT_THAT(thrown_by([&] { around.clone(); }), HasSubstr("clone() of a RemoteModel"));
}

TEST_F(RemoteModelTest, AFrozenModelGivesValuesAndRefusesToTrain) {
  for (at::Tensor& parameter : model_->parameters()) parameter.requires_grad_(false);
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  EXPECT_FALSE(logprobs().requires_grad());
  EXPECT_FALSE(model_->loss(loss::kCrossEntropy, batch).requires_grad());
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              HasSubstr("step() of a model whose parameter"));
  EXPECT_THAT(thrown_by([&] { (void)model_->forward_backward(loss::kCrossEntropy, batch); }),
              HasSubstr("requires_grad_(true)"));
  EXPECT_THAT(server_->calls, ElementsAre("forward cross_entropy 1", "forward cross_entropy 1"));
}

TEST_F(RemoteModelTest, AModelThatWasFrozenOverAFailureTrainsOnceItIsThawed) {
  server_->failure = refusal();
  EXPECT_THAT(thrown_by([&] { logprobs().sum().backward(); }), HasSubstr("too many"));
  for (at::Tensor& parameter : model_->parameters()) parameter.requires_grad_(false);
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("parameter is frozen"));
  for (at::Tensor& parameter : model_->parameters()) parameter.requires_grad_(true);
  logprobs().sum().backward();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, AModelThatWasFrozenAfterBackwardTakesItsStep) {
  logprobs().sum().backward();
  for (at::Tensor& parameter : model_->parameters()) parameter.requires_grad_(false);
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, BadBatchesAreNamed) {
  const auto error_of = [&](const at::Tensor& tokens, const at::Tensor& targets) {
    return thrown_by([&] { model_->forward(tokens, targets); });
  };
  const at::Tensor good = torch::tensor({{1, 2}});
  EXPECT_THAT(error_of(torch::tensor({{1.0F}}), good), HasSubstr("tokens has dtype float32"));
  EXPECT_THAT(error_of(ints({1, 2}), good),
              HasSubstr("tokens has shape [2], expected [batch, length]; of a single sequence"));
  EXPECT_THAT(error_of(good, torch::tensor({{1, 2, 3}})), HasSubstr("targets has shape [1, 3]"));
  EXPECT_THAT(error_of(good, at::Tensor()), HasSubstr("targets"));
  EXPECT_THAT(error_of(good, torch::full({1, 2}, -100)), HasSubstr("nothing but -100"));
  EXPECT_THAT(error_of(good, torch::tensor({{3, -1}})),
              HasSubstr("targets has -1 at element [0, 1], expected token ids, or -100"));
  EXPECT_THAT(
      error_of(good, torch::tensor({{3L, 1L << 40}})),
      HasSubstr("targets has 1099511627776 at element [0, 1], expected token ids, or -100"));
  EXPECT_THAT(thrown_by([&] { model_->forward_list({ints({1})}, {ints({-7})}); }),
              HasSubstr("targets[0] has -7 at element 0"));
  EXPECT_THAT(thrown_by([&] {
                model_->forward_list({ints({1}), ints({2, 3})}, {ints({1}), ints({2})});
              }),
              HasSubstr("targets[1] has shape [1], expected [2]"));
  EXPECT_THAT(thrown_by([&] { model_->forward_list({ints({1})}, std::vector<at::Tensor>{}); }),
              HasSubstr("tokens has 1 sequences but targets has 0"));
  EXPECT_THAT(server_->calls, IsEmpty());
}

TEST_F(RemoteModelTest, ListsAreRefusedInTheSameWordsBySendingAndByExplaining) {
  const auto refused = [&](const at::Tensor& tokens, const at::Tensor& targets, const char* told) {
    const std::vector<at::Tensor> all_tokens{ints({1}), tokens};
    const std::vector<at::Tensor> all_targets{ints({2}), targets};
    EXPECT_THAT(thrown_by([&] { model_->forward_list(all_tokens, all_targets); }), HasSubstr(told));
    EXPECT_THAT(thrown_by([&] { (void)model_->explain_list(all_tokens, all_targets); }),
                HasSubstr(told));
  };
  refused(ints({1, -5}), ints({2, 3}), "tokens[1] has -5 at element 1, expected token ids");
  refused(ints({std::int64_t{1} << 31}), ints({2}),
          "tokens[1] has 2147483648 at element 0, expected token ids");
  refused(ints({1}), torch::tensor({{2, -1}}),
          "targets[1] has -1 at element [0, 1], expected token ids, or -100 where");
  refused(ints({1, 2}), torch::zeros({2, 0}, at::kLong),
          "targets[1] has shape [2, 0], expected [2] or [2, K], a target after each token");
  EXPECT_THAT(server_->calls, IsEmpty());
}

TEST_F(RemoteModelTest, ItExplainsItsRequests) {
  std::vector<at::Tensor> tokens, targets;
  for (int i = 0; i < 130; ++i) {
    tokens.push_back(ints({1, 2, 3}));
    targets.push_back(ints({2, 3, 4}));
  }
  const Explanation two = model_->explain_list(tokens, targets);
  ASSERT_EQ(two.passes.size(), 2u);
  EXPECT_EQ(two.requests(), 4u);  // 128 examples are the most of a request
  EXPECT_EQ(two.passes[0].plan.numbers(), 130u * 6);
  EXPECT_EQ(two.passes[1].plan.numbers(), 130u * 9);
  EXPECT_THAT(two.text(), HasSubstr("2 passes, 4 requests"));
  EXPECT_THAT(two.text(), HasSubstr("\n  request 1 of 2: 128 sequences, 768 numbers, about "));
  const Explanation one =
      model_->explain_loss(loss::kCrossEntropy, {tokens, {{"target_tokens", targets}}});
  EXPECT_EQ(one.requests(), 2u);
  EXPECT_THAT(thrown_by([&] {
                (void)model_->explain_loss(loss::kCrossEntropy, {tokens, {{"targets", targets}}});
              }),
              HasSubstr("target_tokens"));
  const at::Tensor padded = torch::tensor({{-100, -100}, {1, 2}});
  EXPECT_THAT(model_->explain(torch::zeros({2, 2}, at::kLong), padded).text(),
              HasSubstr("\n  request 1 of 1: 1 sequence, "));
  EXPECT_THAT(server_->calls, IsEmpty());
}

}  // namespace
}  // namespace tinkex::torch_ext
