// A remote model's calls, step by step, against a connection that remembers them.

#include "torch_ext/remote_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/schedulers/step_lr.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <algorithm>
#include <functional>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/torch_ext/fake_connections.h"
#include "torch_ext/remote_adamw.h"

namespace tinkex::torch_ext {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::FloatEq;
using testing::HasSubstr;
using testing::IsEmpty;

/// Gives target t the log-probability -t / 8 and remembers what it was asked.
class Server final : public TrainingConnection {
 public:
  std::vector<std::string> calls;
  std::vector<SeenDatum> trained;  ///< Of the last forward_backward.
  AdamParams adam;
  std::optional<Error> failure;  ///< Of the next forward_backward or optim_step.
  bool later = false;            ///< Whether those two answer when answer_all() is called.

  const ModelInfo& info() const override { return info_; }

  Future<ForwardBackwardOutput> forward_backward(std::span<const Datum> data, std::string loss_fn,
                                                 LossConfig, bool forward,
                                                 const CallOptions&) override {
    calls.push_back((forward ? "forward " : "train ") + loss_fn + " " +
                    std::to_string(data.size()));
    if (!forward) trained.clear();
    ForwardBackwardOutput output;
    double loss = 0;
    for (const Datum& datum : data) {
      const TensorData& targets = *find(datum.loss_fn_inputs, "target_tokens");
      std::vector<float> values = targets.to_floats();
      for (float& value : values) loss += value = -value / 8;
      output.loss_fn_outputs.push_back(
          {{"logprobs", TensorData::from(std::move(values), targets.shape())}});
      if (forward) continue;
      SeenDatum seen{datum.model_input.text_tokens(), {}};
      for (const auto& [name, tensor] : datum.loss_fn_inputs) {
        seen.inputs[name] = tensor.to_floats();
      }
      trained.push_back(std::move(seen));
    }
    output.metrics["loss:sum"] = -loss;
    if (forward) return Future<ForwardBackwardOutput>::ready_with(std::move(output));
    return answer<ForwardBackwardOutput>(std::move(output));
  }

  Future<OptimStepResponse> optim_step(const AdamParams& params, const CallOptions&) override {
    calls.emplace_back("step");
    adam = params;
    return answer<OptimStepResponse>(OptimStepResponse{{{"grad_norm", 2.5}}});
  }

  Future<ForwardBackwardOutput> forward_backward_custom(std::span<const Datum>, CustomLoss,
                                                        const CallOptions&) override {
    return unused<ForwardBackwardOutput>();
  }
  Future<SaveWeightsResponse> save_state(std::string, bool, const CallOptions&) override {
    return unused<SaveWeightsResponse>();
  }
  Future<LoadWeightsResponse> load_state(std::string path, bool, const CallOptions&) override {
    calls.push_back("load " + path);
    return Future<LoadWeightsResponse>::ready_with(LoadWeightsResponse{path, "model-1"});
  }
  Future<SaveWeightsForSamplerResponse> save_weights_for_sampler(std::string,
                                                                 const CallOptions&) override {
    return unused<SaveWeightsForSamplerResponse>();
  }
  Future<SamplingClient> save_weights_and_get_sampling_client(const CallOptions&) override {
    return unused<SamplingClient>();
  }

  void answer_all() {
    later = false;
    for (const auto& each : std::exchange(waiting_, {})) each();
  }

 private:
  template <class T>
  Future<T> answer(Result<T> result) {
    if (failure) result = *std::exchange(failure, std::nullopt);
    if (!later) return Future<T>::ready_with(std::move(result));
    auto promise = std::make_shared<Promise<T>>();
    waiting_.emplace_back([promise, result] { promise->set(result); });
    return promise->future();
  }
  template <class T>
  static Future<T> unused() {
    return Future<T>::ready_with(Error(ErrorCode::kInternal, "not a call of a remote model"));
  }

  std::vector<std::function<void()>> waiting_;
  ModelInfo info_{"model-1", "base", "", "", true, 32};
};

Error refusal() { return Error(ErrorCode::kHttpStatus, "too many").with_not_accepted(true); }

at::Tensor ints(std::vector<std::int64_t> values) { return torch::tensor(values); }

class RemoteModelTest : public testing::Test {
 protected:
  at::Tensor logprobs() { return model_->forward_list({ints({1, 2})}, {ints({3, 4})}).front(); }

  /// The message of what `call` throws.
  template <class Call>
  static std::string thrown_by(Call call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("tinkex: ["));
      return error.message();
    } catch (const std::exception& other) {
      return std::string("not an Error: ") + other.what();
    }
    return "nothing";
  }

  std::shared_ptr<Server> server_ = std::make_shared<Server>();
  RemoteModel model_{TrainingClient(server_)};
  RemoteAdamW optimizer_{model_, torch::optim::AdamWOptions(1e-4)};
};

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
  EXPECT_THAT(thrown_by([&] { stale.sum().backward(); }), HasSubstr("a step() or load_state() came between"));
  EXPECT_THAT(thrown_by([&] {
                torch::serialize::OutputArchive archive;
                model_->save(archive);
              }),
              HasSubstr("save_state"));
}

TEST_F(RemoteModelTest, AGradientThatWasClearedOrChangedHereIsNotStepped) {
  logprobs().sum().backward();
  optimizer_.zero_grad();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              HasSubstr("the gradient here shows 0: zero_grad()"));
  model_->accept_server_gradient();
  optimizer_.step();
  logprobs().sum().backward();
  torch::nn::utils::clip_grad_norm_(model_->parameters(), 1.0);
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              AllOf(HasSubstr("was changed"), HasSubstr("grad_clip_norm")));
}

TEST_F(RemoteModelTest, AnOptimizerOfLibTorchsIsNoticed) {
  torch::optim::SGD local(model_->parameters(), 0.1);
  logprobs().sum().backward();
  local.step();
  EXPECT_THAT(thrown_by([&] { logprobs(); }), HasSubstr("Give the model to RemoteAdamW"));
}

TEST_F(RemoteModelTest, AGradientThatIsNotFiniteIsNotSent) {
  EXPECT_THAT(thrown_by([&] { (logprobs().sum() / 0.0).backward(); }),
              AllOf(HasSubstr("sequence 0"), HasSubstr("not finite at element 0")));
  EXPECT_THAT(server_->calls, ElementsAre("forward cross_entropy 1"));
}

TEST_F(RemoteModelTest, AFailedBackwardPassStopsTheStepUntilItIsAccepted) {
  server_->failure = Error(ErrorCode::kTimeout, "no answer");
  EXPECT_THAT(thrown_by([&] { logprobs().sum().backward(); }), HasSubstr("no answer"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              AllOf(HasSubstr("unknown what gradient"), HasSubstr("no answer")));
  model_->accept_server_gradient();
  logprobs().sum().backward();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, ACallThatTheServerDidNotTakeMayBeRepeated) {
  server_->failure = refusal();
  EXPECT_THAT(thrown_by([&] { logprobs().sum().backward(); }), HasSubstr("too many"));
  optimizer_.step();  // there is no gradient
  EXPECT_EQ(server_->calls.back(), "train cross_entropy 1");
  logprobs().sum().backward();
  server_->failure = refusal();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("too many"));
  optimizer_.step();
  EXPECT_EQ(std::count(server_->calls.begin(), server_->calls.end(), "step"), 2);
}

TEST_F(RemoteModelTest, APassThatFailedIsForgottenByTheStepOfAnother) {
  server_->failure = refusal();
  EXPECT_THAT(thrown_by([&] { logprobs().sum().backward(); }), HasSubstr("too many"));
  logprobs().sum().backward();  // the anchor shows two passes, the server holds one
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, APassThatAnotherModelsFailureKeptBackIsForgottenToo) {
  const auto other = std::make_shared<Server>();
  RemoteModel second{TrainingClient(other)};
  RemoteAdamW second_optimizer(second);
  const at::Tensor sum =
      logprobs().sum() + second->forward_list({ints({1})}, {ints({2})}).front().sum();
  server_->failure = refusal();
  other->failure = refusal();
  EXPECT_THAT(thrown_by([&] { sum.backward(); }), HasSubstr("too many"));
  optimizer_.step();
  second_optimizer.step();
  EXPECT_EQ(std::count(server_->calls.begin(), server_->calls.end(), "step"), 0);
  EXPECT_EQ(std::count(other->calls.begin(), other->calls.end(), "step"), 0);
}

TEST_F(RemoteModelTest, TwoModelsInOneLossTrainByOneRequestEach) {
  const auto other = std::make_shared<Server>();
  RemoteModel second{TrainingClient(other)};
  (logprobs().sum() * second->forward_list({ints({1})}, {ints({2})}).front().sum()).backward();
  EXPECT_EQ(server_->calls.back(), "train cross_entropy 1");
  EXPECT_EQ(other->calls.back(), "train cross_entropy 1");
}

TEST_F(RemoteModelTest, AGradientClearedBetweenTwoPassesIsNoticed) {
  logprobs().sum().backward();
  optimizer_.zero_grad();
  logprobs().sum().backward();
  EXPECT_THAT(
      thrown_by([&] { optimizer_.step(); }),
      HasSubstr("of 2 backward passes that the server has summed, the gradient here shows 1"));
}

TEST_F(RemoteModelTest, ALossOfTheServersCountsOnce) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  const at::Tensor first = model_->loss(loss::kCrossEntropy, batch);
  const at::Tensor second = model_->loss(loss::kCrossEntropy, batch);
  first.backward({}, /*retain_graph=*/true);
  EXPECT_THAT(thrown_by([&] { first.backward(); }), HasSubstr("called twice"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("1 loss() whose backward()"));
  second.backward();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, ALossBesideAGraphThatFailsStaysOpen) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  const at::Tensor theirs = model_->loss(loss::kCrossEntropy, batch);
  EXPECT_THAT(thrown_by([&] { (theirs + logprobs().sum() / 0.0).backward(); }),
              HasSubstr("not finite"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("loss() whose backward()"));
}

TEST_F(RemoteModelTest, ARetainedGraphSumsItsGradientTwice) {
  const at::Tensor sum = logprobs().sum();
  sum.backward({}, /*retain_graph=*/true);
  sum.backward();
  optimizer_.step();
  EXPECT_THAT(server_->calls, ElementsAre("forward cross_entropy 1", "train cross_entropy 1",
                                          "train cross_entropy 1", "step"));
}

TEST_F(RemoteModelTest, BackwardRunsOnSeveralThreads) {
  std::vector<at::Tensor> sums;
  for (int i = 0; i < 4; ++i) sums.push_back(logprobs().sum());
  std::vector<std::thread> threads;
  std::mutex one_at_a_time;  // the double is no server
  for (const at::Tensor& sum : sums) {
    threads.emplace_back([&] {
      const std::lock_guard lock(one_at_a_time);
      sum.backward();
    });
  }
  for (std::thread& thread : threads) thread.join();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, ALoadedCheckpointMakesGraphsStaleAndEndsAnyDoubt) {
  server_->failure = Error(ErrorCode::kTimeout, "no answer");
  const at::Tensor stale = logprobs();
  EXPECT_THAT(thrown_by([&] { logprobs().sum().backward(); }), HasSubstr("no answer"));
  model_->load_state("tinker://run/weights/a");
  EXPECT_THAT(thrown_by([&] { stale.sum().backward(); }), HasSubstr("load_state()"));
  optimizer_.zero_grad();
  logprobs().sum().backward();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, AnOptimizerOfLibTorchsIsForgivenOnceItIsSaidSo) {
  torch::optim::SGD local(model_->parameters(), 0.1);
  logprobs().sum().backward();
  local.step();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("accept_server_gradient()"));
  model_->accept_server_gradient();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, AFailedFutureIsItsHoldersAlone) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  server_->failure = refusal();
  EXPECT_FALSE(model_->forward_backward(loss::kCrossEntropy, batch).get().ok());
  logprobs().sum().backward();  // not told again
  server_->failure = refusal();
  EXPECT_FALSE(optimizer_.step_async().get().ok());
  optimizer_.step_async().get().value();  // an anchor that was cleared asks for nothing more
}

class PipelinedTest : public RemoteModelTest {
 protected:
  PipelinedTest() {
    model_ = RemoteModel(TrainingClient(server_), /*pipelined=*/true);
    optimizer_ = RemoteAdamW(model_, torch::optim::AdamWOptions(1e-4));
    server_->later = true;
  }
};

TEST_F(PipelinedTest, BackwardAndStepDoNotWait) {
  logprobs().sum().backward();
  optimizer_.step();
  EXPECT_THAT(server_->calls,
              ElementsAre("forward cross_entropy 1", "train cross_entropy 1", "step"));
  server_->answer_all();
  model_->synchronize();
  EXPECT_GT(model_->metrics().count("loss:sum"), 0u);
}

TEST_F(PipelinedTest, AFailureIsThrownByTheNextCall) {
  server_->failure = Error(ErrorCode::kTimeout, "no answer");
  logprobs().sum().backward();
  server_->answer_all();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("no answer"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("unknown what gradient"));
  EXPECT_EQ(server_->calls.back(), "train cross_entropy 1");
}

TEST_F(RemoteModelTest, BadBatchesAreNamed) {
  const auto error_of = [&](const at::Tensor& tokens, const at::Tensor& targets) {
    return thrown_by([&] { model_->forward(tokens, targets); });
  };
  const at::Tensor good = torch::tensor({{1, 2}});
  EXPECT_THAT(error_of(torch::tensor({{1.0F}}), good), HasSubstr("tokens has dtype float32"));
  EXPECT_THAT(error_of(ints({1, 2}), good), HasSubstr("tokens has shape (2)"));
  EXPECT_THAT(error_of(good, torch::tensor({{1, 2, 3}})), HasSubstr("targets has shape (1, 3)"));
  EXPECT_THAT(error_of(good, at::Tensor()), HasSubstr("targets"));
  EXPECT_THAT(error_of(good, torch::full({1, 2}, -100)), HasSubstr("nothing but -100"));
  EXPECT_THAT(thrown_by([&] {
                model_->forward_list({ints({1}), ints({2, 3})}, {ints({1}), ints({2})});
              }),
              HasSubstr("targets[1] has shape (1), expected (2)"));
  EXPECT_THAT(thrown_by([&] { model_->forward_list({ints({1})}, std::vector<at::Tensor>{}); }),
              HasSubstr("tokens has 1 sequences but targets has 0"));
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
  const Explanation one =
      model_->explain_loss(loss::kCrossEntropy, {tokens, {{"target_tokens", targets}}});
  EXPECT_EQ(one.requests(), 2u);
  EXPECT_THAT(server_->calls, IsEmpty());
}

}  // namespace
}  // namespace tinkex::torch_ext
