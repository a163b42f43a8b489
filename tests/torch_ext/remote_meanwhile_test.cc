// What comes between the parts of a remote model's calls: hooks within backward(), and calls of the
// client's on other threads.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/torch_ext/remote_model_double.h"
#include "tinkex/base/mutex.h"
#include "tinkex/base/thread_annotations.h"
#include "torch_ext/remote/training_state.h"

namespace tinkex::torch_ext {
namespace {

using remote::GradientLedger;
using remote::Report;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

const auto kStale = HasSubstr("a step() or load_state() came between forward() and backward()");

struct Hook final : torch::autograd::FunctionPostHook {
  explicit Hook(std::function<void()> call) : call_(std::move(call)) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    call_();
    return outputs;
  }

 private:
  std::function<void()> call_;
};

auto node_of_the_models(const at::Tensor& result) {
  auto node = result.grad_fn();
  while (node->name().find("Remote") == std::string::npos) node = node->next_edge(0).function;
  return node;
}

class MeanwhileTest : public RemoteModelTest {
 protected:
  GradientLedger& ledger() { return model_->state()->ledger(); }

  /// What an op of the client's does, whole.
  void step_of_the_client() {
    const auto ticket = ledger().begin_change();
    const auto end = remote::end_of<&GradientLedger::end_other_step>(ticket);
    auto sent = ledger().send_change(
        ticket, [&] { return client_.optim_step(AdamParams{}); }, end);
    end(ledger(), std::move(sent).get(), Report::kCaller);
  }
  void load_of_the_client() {
    const auto ticket = ledger().begin_change();
    const auto end = remote::end_of<&GradientLedger::end_load>(ticket);
    auto sent = ledger().send_change(
        ticket, [&] { return client_.load_state(kPath); }, end);
    end(ledger(), std::move(sent).get(), Report::kCaller);
  }

  std::vector<std::function<void()>> changes_of_the_client() {
    return {[this] { step_of_the_client(); }, [this] { load_of_the_client(); }};
  }

  static constexpr char kPath[] = "tinker://run/weights/a";
  const LossBatch batch_{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  TrainingClient client_{server_};
};

TEST_F(MeanwhileTest, AnOptimizerThatStepsWithinBackwardIsRefusedWhatItHasLeftOut) {
  const auto accumulator = torch::autograd::impl::grad_accumulator(model_->parameters().front());
  accumulator->add_post_hook(std::make_unique<Hook>([this] { optimizer_.step(); }));
  logprobs().sum().backward();  // there is nothing to step yet
  EXPECT_THAT(thrown_by([&] { logprobs().sum().backward(); }),
              AllOf(HasSubstr("the gradient here lacks 1"), HasSubstr("step() was called within")));
  EXPECT_THAT(server_->calls, ElementsAre("forward cross_entropy 1", "train cross_entropy 1",
                                          "forward cross_entropy 1"));
}

TEST_F(MeanwhileTest, AnOptimizerThatStepsWithinBackwardIsNotGivenWhatWasCleared) {
  logprobs().sum().backward();
  optimizer_.zero_grad();
  const auto accumulator = torch::autograd::impl::grad_accumulator(model_->parameters().front());
  accumulator->add_post_hook(std::make_unique<Hook>([this] { optimizer_.step(); }));
  EXPECT_THAT(thrown_by([&] { logprobs().sum().backward(); }),
              HasSubstr("the gradient here lacks 1"));
  EXPECT_EQ(std::count(server_->calls.begin(), server_->calls.end(), "step"), 0);
}

TEST_F(MeanwhileTest, AChangeOfTheWeightsWithinBackwardStopsThePass) {
  std::vector<std::function<void()>> changes = changes_of_the_client();
  changes.emplace_back([this] { model_->load_state(kPath); });
  for (const auto& change : changes) {
    const at::Tensor sum = logprobs().sum();
    node_of_the_models(sum)->add_post_hook(std::make_unique<Hook>(change));
    const std::size_t sent = server_->calls.size() + 1;
    EXPECT_THAT(thrown_by([&] { sum.backward(); }), kStale);
    EXPECT_EQ(server_->calls.size(), sent);
    optimizer_.zero_grad();
    optimizer_.step();  // nothing is left
    EXPECT_EQ(server_->calls.size(), sent);
  }
}

TEST_F(MeanwhileTest, AStepOfTheClientDuringAForwardPassMakesItsGraphStale) {
  server_->meanwhile = [this] { step_of_the_client(); };
  const at::Tensor graph = logprobs();
  EXPECT_THAT(thrown_by([&] { graph.sum().backward(); }), kStale);
}

TEST_F(MeanwhileTest, AForwardPassBeforeAStepThatIsAlreadyCountedHasAStaleGraph) {
  at::Tensor graph;
  server_->meanwhile = [&] { graph = logprobs(); };
  step_of_the_client();
  EXPECT_THAT(server_->calls, ElementsAre("forward cross_entropy 1", "step"));
  EXPECT_THAT(thrown_by([&] { graph.sum().backward(); }), kStale);
  logprobs().sum().backward();
}

TEST_F(MeanwhileTest, AForwardPassBeforeAStepOfTheModelsThatIsAlreadyCountedHasAStaleGraph) {
  at::Tensor graph;
  logprobs().sum().backward();
  server_->meanwhile = [&] { graph = logprobs(); };
  optimizer_.step();
  EXPECT_THAT(thrown_by([&] { graph.sum().backward(); }), kStale);
}

TEST_F(MeanwhileTest, AStalePassThatLandsBehindAStepOfTheClientIsNotSteppedUnasked) {
  const at::Tensor graph = logprobs().sum();
  server_->meanwhile = [this] { step_of_the_client(); };
  graph.backward();
  EXPECT_THAT(server_->calls,
              ElementsAre("forward cross_entropy 1", "step", "train cross_entropy 1"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              HasSubstr("optim_step() of its client has made it void"));
  optimizer_.zero_grad();
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("the gradient here lacks 1"));
  model_->accept_server_gradient();
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(MeanwhileTest, AStalePassIsNotSteppedUnaskedBehindOneThatFailedBeforeItWasShown) {
  const at::Tensor graph = logprobs().sum();
  server_->meanwhile = [this] { step_of_the_client(); };
  graph.backward();
  const at::Tensor older = logprobs().sum();
  const at::Tensor newer = logprobs().sum();  // its node is reached first
  EXPECT_THAT(thrown_by([&] { (older / 0.0 + newer).backward(); }), HasSubstr("not finite"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              HasSubstr("optim_step() of its client has made it void"));
}

TEST_F(MeanwhileTest, APassWithoutAGraphThatLandsBehindAnotherChangeIsHeld) {
  for (const auto& change : changes_of_the_client()) {
    server_->meanwhile = change;
    (void)model_->forward_backward(loss::kCrossEntropy, batch_);
    EXPECT_EQ(server_->calls.back(), "train cross_entropy 1");
    optimizer_.step();
    EXPECT_EQ(server_->calls.back(), "step");
  }
}

TEST_F(MeanwhileTest, ALossOfTheServersThatLandsBehindAStepOfTheClientIsHeld) {
  server_->meanwhile = [this] { step_of_the_client(); };
  const at::Tensor loss = model_->loss(loss::kCrossEntropy, batch_);
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }), HasSubstr("1 loss() whose backward()"));
  loss.backward();
  optimizer_.step();
  EXPECT_THAT(server_->calls, ElementsAre("step", "train cross_entropy 1", "step"));
}

TEST_F(MeanwhileTest, APassThatIsLostBehindALoadThatOvertookItLeavesTheGradientUnknown) {
  server_->meanwhile = [this] {
    load_of_the_client();
    server_->throws = true;
  };
  EXPECT_THAT(thrown_by([&] { (void)model_->forward_backward(loss::kCrossEntropy, batch_); }),
              HasSubstr("a defect"));
  EXPECT_THAT(thrown_by([&] { optimizer_.step(); }),
              AllOf(HasSubstr("unknown what gradient"), HasSubstr("a defect")));
}

/// Answers the passes that train once as many of them as it expects are under way.
class MeetingServer final : public Server {
 public:
  explicit MeetingServer(int expected) : expected_(expected) {}

  Future<ForwardBackwardOutput> forward_backward(std::span<const Datum> data, std::string loss_fn,
                                                 LossConfig config, bool forward,
                                                 const CallOptions& options) override {
    const internal::MutexLock lock(mutex_);
    if (!forward) wait_for_all();
    return Server::forward_backward(data, std::move(loss_fn), std::move(config), forward, options);
  }

  bool all_met() {
    const internal::MutexLock lock(mutex_);
    return met_ == expected_;
  }

 private:
  void wait_for_all() TINKEX_REQUIRES(mutex_) {
    ++here_;
    somebody_came_.notify_all();
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (here_ < expected_) {
      if (!somebody_came_.wait_until(mutex_, patience)) return;
    }
    ++met_;
  }

  const int expected_;
  internal::Mutex mutex_;
  internal::CondVar somebody_came_;
  int here_ TINKEX_GUARDED_BY(mutex_) = 0;
  int met_ TINKEX_GUARDED_BY(mutex_) = 0;
};

TEST(BackwardOnSeveralThreadsTest, PassesAreUnderWayAtOnceAndAllOfThemCount) {
  constexpr int kThreads = 4;
  const auto server = std::make_shared<MeetingServer>(kThreads);
  RemoteModel model(TrainingClient(server), /*pipelined=*/false);
  RemoteAdamW optimizer(model, torch::optim::AdamWOptions(1e-4));
  std::vector<at::Tensor> sums;
  for (int i = 0; i < kThreads; ++i) {
    sums.push_back(model->forward_list({ints({1, 2})}, {ints({3, 4})}).front().sum());
  }
  std::vector<std::thread> threads;
  for (const at::Tensor& sum : sums) threads.emplace_back([&sum] { sum.backward(); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(server->all_met());
  optimizer.step();  // which notices a pass that the gradient here does not show
  EXPECT_EQ(std::count(server->calls.begin(), server->calls.end(), "train cross_entropy 1"),
            kThreads);
  EXPECT_EQ(server->calls.back(), "step");
}

}  // namespace
}  // namespace tinkex::torch_ext
