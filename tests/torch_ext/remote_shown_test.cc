// What a model's placeholder is known to show after backward passes that failed, were frozen out of
// it, or whose step was refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/torch_ext/remote_model_double.h"
#include "torch_ext/remote/training_state.h"

namespace tinkex::torch_ext {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

const auto kLacksOne = HasSubstr("the gradient here lacks 1: zero_grad()");

/// A local module whose backward() fails.
struct Broken final : torch::autograd::Function<Broken> {
  static at::Tensor forward(AutogradContext*, const at::Tensor& input) { return input.clone(); }
  static variable_list backward(AutogradContext*, variable_list) {
    throw std::runtime_error("out of memory");
  }
};

class ShownTest : public RemoteModelTest {
 protected:
  using RemoteModelTest::RemoteModelTest;

  std::ptrdiff_t sent(const std::string& call) const {
    return std::count(server_->calls.begin(), server_->calls.end(), call);
  }

  const LossBatch batch_{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
};

TEST_F(ShownTest, APassThatAnotherModelsFailureEndsDoesNotStandForOneThatWasCleared) {
  const auto other = std::make_shared<Server>();
  RemoteModel second{TrainingClient(other)};
  logprobs().sum().backward();
  optimizer_.zero_grad();
  const at::Tensor mine = logprobs().sum();
  const at::Tensor sum = mine + second->forward_list({ints({1})}, {ints({2})}).front().sum();
  other->failure = refusal();
  EXPECT_THAT(thrown_by([&] { sum.backward({}, /*retain_graph=*/true); }), HasSubstr("too many"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), kLacksOne);
  sum.backward();  // the natural next try
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), kLacksOne);
  EXPECT_EQ(sent("step"), 0);
}

TEST_F(ShownTest, APassThatALocalModuleEndsDoesNotStandForOneThatWasCleared) {
  const at::Tensor local = Broken::apply(torch::ones({2}, at::requires_grad()));
  logprobs().sum().backward();
  optimizer_.zero_grad();
  const at::Tensor sum = (logprobs() * local).sum();
  EXPECT_THAT(thrown_by([&] { sum.backward(); }), HasSubstr("out of memory"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), kLacksOne);
}

TEST_F(ShownTest, APassThatIsNotShownNeedNotBeIfItIsRefused) {
  logprobs().sum().backward();
  server_->failure = refusal();
  EXPECT_THAT(thrown_by([&] { torch::autograd::grad({logprobs().sum()}, model_->parameters()); }),
              HasSubstr("too many"));
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(ShownTest, APassThatIsHeldAndNotShownIsNotStepped) {
  torch::autograd::grad({logprobs().sum()}, model_->parameters());
  logprobs().sum().backward();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              HasSubstr("of 2 backward passes that the server has summed, the gradient here "
                        "lacks 1: zero_grad() or autograd::grad() came in between"));
}

TEST_F(ShownTest, AParameterThatIsFrozenBeforeBackwardIsNamed) {
  const at::Tensor sum = logprobs().sum();
  at::Tensor anchor = model_->parameters().front();
  anchor.requires_grad_(false);
  sum.backward();
  anchor.requires_grad_(true);
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              AllOf(kLacksOne, HasSubstr("parameter was frozen during backward()")));
}

TEST_F(ShownTest, AnAnchorThatWasFrozenForATimeIsWatchedOn) {
  at::Tensor anchor = model_->parameters().front();
  for (int round = 0; round < 2; ++round) {
    logprobs().sum().backward();
    optimizer_.step();
    anchor.requires_grad_(false);
    EXPECT_FALSE(logprobs().requires_grad());
    anchor.requires_grad_(true);
  }
  EXPECT_EQ(sent("step"), 2);
}

TEST_F(ShownTest, ALossWhoseGradientWasAcceptedIsNotAskedForAgain) {
  const at::Tensor loss = model_->loss(loss::kCrossEntropy, batch_);
  model_->accept_server_gradient();
  const auto kAccepted = AllOf(HasSubstr("accept_server_gradient(), which has counted"),
                               Not(HasSubstr("Compute it again")));
  EXPECT_THAT(thrown_by([&] { loss.backward({}, /*retain_graph=*/true); }), kAccepted);
  optimizer_.zero_grad();
  optimizer_.step();
  EXPECT_THAT(thrown_by([&] { loss.backward(); }), HasSubstr("Compute it again"));
  EXPECT_THAT(server_->calls, ElementsAre("train cross_entropy 1", "step"));
}

TEST_F(ShownTest, AModelThatIsFrozenWhileItsLossWaitsGivesItWithoutAGraph) {
  at::Tensor anchor = model_->parameters().front();
  server_->meanwhile = [&] { anchor.requires_grad_(false); };
  EXPECT_FALSE(model_->loss(loss::kCrossEntropy, batch_).requires_grad());
  anchor.requires_grad_(true);
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("1 loss() whose backward()"));
}

TEST_F(ShownTest, ALossOfNoNameIsExplainedAsItIsRefused) {
  EXPECT_THAT(thrown_by([&] { (void)model_->explain_loss("", batch_); }),
              HasSubstr("the name of a loss"));
}

class PipelinedShownTest : public ShownTest {
 protected:
  PipelinedShownTest() : ShownTest(/*pipelined=*/true) {}

  /// A backward pass whose step is refused, of which nobody has heard.
  void refused_step() {
    logprobs().sum().backward();
    server_->failure = refusal();
    server_->later = true;
    optimizer_.step();
    server_->answer_all();
  }
};

TEST_F(PipelinedShownTest, ARefusalThatNobodyWasToldOfIsToldAfterTheGradientWasAccepted) {
  server_->failure = refusal();
  server_->later = true;
  logprobs().sum().backward();
  server_->answer_all();
  model_->accept_server_gradient();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("too many"));
  optimizer_.step();
  EXPECT_EQ(sent("step"), 0);
}

TEST_F(PipelinedShownTest, TheGradientOfAStepThatIsToldToBeRefusedMayNotBeCleared) {
  refused_step();
  EXPECT_THAT(thrown_by([&] { logprobs(); }), HasSubstr("too many"));
  optimizer_.zero_grad();
  logprobs().sum().backward();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), kLacksOne);
  EXPECT_EQ(sent("step"), 1);
}

TEST_F(PipelinedShownTest, SoItIsIfABackwardPassTellsIt) {
  const at::Tensor first = logprobs().sum(), second = logprobs().sum();
  first.backward();
  server_->failure = refusal();
  server_->later = true;
  optimizer_.step();
  server_->answer_all();
  EXPECT_THAT(thrown_by([&] { second.backward({}, /*retain_graph=*/true); }),
              HasSubstr("too many"));
  second.backward();  // the natural next try
  optimizer_.zero_grad();
  logprobs().sum().backward();
  EXPECT_THAT(
      thrown_by([&] { optimizer_.step(); }),
      HasSubstr("of 3 backward passes that the server has summed, the gradient here lacks 2"));
  EXPECT_EQ(sent("step"), 1);
}

TEST_F(PipelinedShownTest, AStepThatIsToldToBeRefusedMayBeRepeated) {
  refused_step();
  EXPECT_THAT(thrown_by([&] { model_->synchronize(); }), HasSubstr("too many"));
  optimizer_.step();
  model_->synchronize();
  EXPECT_EQ(sent("step"), 2);
  optimizer_.step();  // nothing is left
  EXPECT_EQ(sent("step"), 2);
}

}  // namespace
}  // namespace tinkex::torch_ext
