// What a remote model refuses, and what it knows after calls that failed.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/nn/module.h>
#include <torch/nn/utils/clip_grad.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/torch_ext/remote_model_double.h"
#include "tinkex/executor.h"
#include "torch_ext/remote/training_state.h"

namespace tinkex::torch_ext {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(RemoteModelTest, AGradientThatWasClearedOrChangedHereIsNotStepped) {
  logprobs().sum().backward();
  optimizer_.zero_grad();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              HasSubstr("the gradient here lacks 1: zero_grad()"));
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

TEST_F(RemoteModelTest, ARefusedPassDoesNotStandForOneThatWasCleared) {
  logprobs().sum().backward();
  optimizer_.zero_grad();
  server_->failure = refusal();
  EXPECT_THAT(thrown_by([&] { logprobs().sum().backward(); }), HasSubstr("too many"));
  EXPECT_THAT(
      thrown_by([&] { optimizer_.step(); }),
      HasSubstr("of 1 backward pass that the server has summed, the gradient here lacks 1"));
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

TEST_F(RemoteModelTest, ARefusedStepShowsItsGradientAgain) {
  logprobs().sum().backward();
  server_->failure = refusal();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("too many"));
  optimizer_.zero_grad();
  logprobs().sum().backward();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              HasSubstr("of 2 backward passes that the server has summed, the gradient here"));
}

TEST_F(RemoteModelTest, AGraphMayBeUsedBehindARefusedStep) {
  const at::Tensor graph = logprobs();
  logprobs().sum().backward();
  server_->failure = refusal();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("too many"));
  graph.sum().backward();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, ACallThatEndsByAnExceptionLeavesTheGradientUnknown) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  const auto leaves_it_unknown = [&](auto call) {
    server_->throws = true;
    EXPECT_THAT(thrown_by(call), HasSubstr("a defect"));
    EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
                AllOf(HasSubstr("unknown what gradient"), HasSubstr("a defect")));
    model_->accept_server_gradient();
  };
  leaves_it_unknown([&] { logprobs().sum().backward(); });
  leaves_it_unknown([&] { model_->loss(loss::kCrossEntropy, batch); });
  leaves_it_unknown([&] { (void)model_->forward_backward(loss::kCrossEntropy, batch); });
  leaves_it_unknown([&] { model_->load_state("tinker://run/weights/a"); });
  leaves_it_unknown([&] { optimizer_.step(); });
  leaves_it_unknown([&] { (void)optimizer_.step_async(); });
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
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
      HasSubstr("of 2 backward passes that the server has summed, the gradient here lacks 1"));
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

TEST_F(RemoteModelTest, ALossBesideWhatFailsMayBeTriedAgainWithItsGraph) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  const at::Tensor theirs = model_->loss(loss::kCrossEntropy, batch);
  const at::Tensor fails = theirs + logprobs().sum() / 0.0;
  EXPECT_THAT(thrown_by([&] { fails.backward({}, /*retain_graph=*/true); }),
              HasSubstr("not finite"));
  const at::Tensor both = theirs + logprobs().sum();
  server_->failure = refusal();
  EXPECT_THAT(thrown_by([&] { both.backward({}, /*retain_graph=*/true); }), HasSubstr("too many"));
  both.backward();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, AKeptLossKeepsNeitherItsBatchNorTheModel) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  RemoteModel model(TrainingClient(server_), /*pipelined=*/false);
  const std::weak_ptr<remote::TrainingState> state = model->state();
  const std::weak_ptr<remote::GradientLedger> ledger = model->state()->ledger().weak_from_this();
  const at::Tensor ours = model->forward_list({ints({1, 2})}, {ints({3, 4})}).front().sum();
  const at::Tensor theirs = model->loss(loss::kCrossEntropy, batch);
  (ours + theirs).backward();
  EXPECT_THAT(thrown_by([&] { ours.backward(); }), HasSubstr("second time"));
  EXPECT_THAT(thrown_by([&] { theirs.backward(); }), HasSubstr("second time"));
  model = nullptr;
  EXPECT_TRUE(state.expired());
  EXPECT_TRUE(ledger.expired());
}

struct FailingHook final : torch::autograd::FunctionPostHook {
  torch::autograd::variable_list operator()(const torch::autograd::variable_list&,
                                            const torch::autograd::variable_list&) override {
    throw std::runtime_error("a hook");
  }
};

/// Lets a hook fail on the node of the model's that is next to that of `result`.
void fail_behind(const at::Tensor& result) {
  auto node = result.grad_fn();
  while (node->name().find("Remote") == std::string::npos) node = node->next_edge(0).function;
  node->add_post_hook(std::make_unique<FailingHook>());
}

TEST_F(RemoteModelTest, AGraphWhoseHookHasFailedSaysSo) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  for (const at::Tensor& loss : {logprobs().sum(), model_->loss(loss::kCrossEntropy, batch)}) {
    fail_behind(loss);
    EXPECT_THAT(thrown_by([&] { loss.backward(); }), HasSubstr("a hook"));
    EXPECT_THAT(thrown_by([&] { loss.backward(); }), HasSubstr("has failed in a hook"));
  }
}

TEST_F(RemoteModelTest, ARetainedGraphSumsItsGradientTwice) {
  const at::Tensor sum = logprobs().sum();
  sum.backward({}, /*retain_graph=*/true);
  sum.backward();
  optimizer_.step();
  EXPECT_THAT(server_->calls, ElementsAre("forward cross_entropy 1", "train cross_entropy 1",
                                          "train cross_entropy 1", "step"));
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

TEST_F(RemoteModelTest, ALoadOfUnknownEndMakesGraphsStaleAndStopsTheStep) {
  const at::Tensor stale = logprobs();
  logprobs().sum().backward();
  server_->failure = Error(ErrorCode::kTimeout, "no answer");
  EXPECT_THAT(thrown_by([&] { model_->load_state("tinker://run/weights/a"); }),
              HasSubstr("no answer"));
  EXPECT_THAT(thrown_by([&] { stale.sum().backward(); }),
              HasSubstr("a step() or load_state() came between"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              AllOf(HasSubstr("unknown what gradient"), HasSubstr("load_state(): no answer")));
  model_->load_state("tinker://run/weights/a");
  logprobs().sum().backward();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(RemoteModelTest, ALoadThatTheServerRefusedChangesNothing) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  const at::Tensor graph = logprobs();
  const at::Tensor theirs = model_->loss(loss::kCrossEntropy, batch);
  logprobs().sum().backward();
  server_->failure = refusal();
  EXPECT_THAT(thrown_by([&] { model_->load_state("tinker://run/weights/a"); }),
              HasSubstr("too many"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("1 loss() whose backward()"));
  graph.sum().backward();
  theirs.backward();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
  EXPECT_THAT(thrown_by([&] { logprobs(); }), "nothing");
}

TEST_F(RemoteModelTest, AGradientFromBeforeALoadIsVoid) {
  logprobs().sum().backward();
  model_->client().load_state("tinker://run/weights/a").get().value();  // unknown to the model
  model_->load_state("tinker://run/weights/b");
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "load tinker://run/weights/b");  // there is no gradient
}

TEST_F(RemoteModelTest, AnInputOfTheServersLossThatRequiresAGradientIsRefused) {
  const at::Tensor weights = torch::ones({2}, torch::requires_grad());
  const LossBatch batch{{ints({1, 2})},
                        {{"target_tokens", {ints({3, 4})}}, {"weights", {weights * 2}}}};
  const auto told = HasSubstr("loss_fn_inputs['weights'][0] requires a gradient");
  EXPECT_THAT(thrown_by([&] { model_->loss(loss::kCrossEntropy, batch); }), told);
  EXPECT_THAT(thrown_by([&] { (void)model_->forward_backward(loss::kCrossEntropy, batch); }), told);
  EXPECT_THAT(thrown_by([&] { (void)model_->explain_loss(loss::kCrossEntropy, batch); }), told);
  EXPECT_TRUE(server_->calls.empty());
  const torch::NoGradGuard no_grad;
  model_->loss(loss::kCrossEntropy, batch);
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
  PipelinedTest() : RemoteModelTest(/*pipelined=*/true) { server_->later = true; }

  template <class Call>
  static Error error_of(Call call) {
    try {
      call();
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorCode::kInternal, "nothing was thrown");
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

/// Calls what it is given when somebody begins to wait for what is not there yet.
struct WhenWaitedFor final : Executor {
  explicit WhenWaitedFor(std::function<void()> call) : call_(std::move(call)) {}
  bool post(Task task) noexcept override {
    task();
    return true;
  }
  bool is_worker_thread() const noexcept override {  // asked by Future::get()
    call_();
    return false;
  }

 private:
  std::function<void()> call_;
};

TEST_F(PipelinedTest, AFailureIsThrownByALossBehindItWhichIsNotSent) {
  server_->executor = std::make_shared<WhenWaitedFor>([this] { server_->answer_all(); });
  server_->failure = refusal();
  logprobs().sum().backward();
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  EXPECT_THAT(thrown_by([&] { model_->loss(loss::kCrossEntropy, batch); }), HasSubstr("too many"));
  model_->loss(loss::kCrossEntropy, batch).backward();
  optimizer_.step();
  EXPECT_THAT(server_->calls, ElementsAre("forward cross_entropy 1", "train cross_entropy 1",
                                          "train cross_entropy 1", "step"));
}

TEST_F(PipelinedTest, APassThatIsRefusedLaterDoesNotStandForOneThatWasClearedEither) {
  const at::Tensor first = logprobs().sum();
  const at::Tensor second = logprobs().sum();
  first.backward();
  optimizer_.zero_grad();
  server_->failure = refusal();
  second.backward();
  server_->answer_all();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("too many"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("the gradient here lacks 1"));
}

TEST_F(PipelinedTest, AFailureThatWasHeardIsNotThrownAgain) {
  server_->failure = Error(ErrorCode::kTimeout, "no answer");
  logprobs().sum().backward();
  server_->answer_all();
  const std::string told = error_of([&] { logprobs(); }).what();
  remote::GradientLedger& ledger = model_->state()->ledger();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr(told));  // as the reason of another
  ledger.tell_again(Error(ErrorCode::kInvalidArgument, "The failure was: " + told).what());
  model_->synchronize();
  ledger.tell_again(told);
  model_->synchronize();
}

TEST_F(PipelinedTest, AFailureWhoseCallerHasLeftIsThrownAgain) {
  server_->failure = refusal();
  logprobs().sum().backward();
  server_->answer_all();
  const std::string told = error_of([&] { model_->synchronize(); }).what();
  remote::GradientLedger& ledger = model_->state()->ledger();
  ledger.tell_again("something else");
  ledger.tell_again("RuntimeError: " + told);
  EXPECT_THAT(thrown_by([&] { model_->synchronize(); }), HasSubstr("too many"));
  model_->synchronize();  // told
}

TEST_F(PipelinedTest, AFailureWhoseCallerHasLeftIsThrownAgainAlsoIfBackwardCameInBetween) {
  const at::Tensor second = logprobs().sum();
  const at::Tensor third = logprobs().sum();
  const at::Tensor fourth = logprobs().sum();
  server_->failure = refusal();
  logprobs().sum().backward();
  server_->answer_all();
  const Error told = error_of([&] { model_->synchronize(); });
  second.backward();
  server_->later = true;
  server_->failure = Error(ErrorCode::kHttpStatus, "too few").with_not_accepted(true);
  third.backward();
  server_->answer_all();
  EXPECT_THAT(thrown_by([&] { fourth.backward(); }), HasSubstr("too few"));
  model_->state()->ledger().tell_again(told.what());
  EXPECT_THAT(thrown_by([&] { model_->synchronize(); }), HasSubstr("too many"));
}

}  // namespace
}  // namespace tinkex::torch_ext
