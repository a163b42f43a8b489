// Calls of a remote model that another thread makes for a caller who leaves, and calls from where
// nobody can wait.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "tests/torch_ext/remote_model_double.h"
#include "tinkex/base/call_stop.h"
#include "tinkex/executor.h"

namespace tinkex::torch_ext {
namespace {

using namespace std::chrono_literals;
using internal::CallStop;
using testing::HasSubstr;

constexpr auto kPatience = 60s;

class GivenUpTest : public RemoteModelTest {
 protected:
  /// Makes `call` on a thread whose calls `stop_` stops.
  template <class Call>
  std::thread for_a_caller(Call call) {
    return std::thread([this, call] {
      CallStop::announce(stop_);
      told_ = thrown_by(call);
    });
  }

  at::Tensor gradient() { return model_->parameters().front().grad(); }

  std::shared_ptr<CallStop> stop_ = std::make_shared<CallStop>();
  std::string told_;
};

TEST_F(GivenUpTest, AStepThatIsRefusedAfterItsCallerLeftLeavesTheGradientToHim) {
  logprobs().sum().backward();
  server_->later = true;
  server_->failure = refusal();
  std::thread thread = for_a_caller([&] { optimizer_.step(); });
  while (server_->sent() < 2) std::this_thread::yield();
  stop_->stop(kPatience);
  server_->answer_all();
  thread.join();
  EXPECT_THAT(told_, HasSubstr("too many"));
  EXPECT_FALSE(gradient().defined());
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

TEST_F(GivenUpTest, AStepThatWasGivenUpBeforeItBeganIsNotSent) {
  logprobs().sum().backward();
  stop_->stop(0s);
  for_a_caller([&] { optimizer_.step(); }).join();
  EXPECT_THAT(told_, HasSubstr("step() was given up before it began"));
  EXPECT_TRUE(gradient().defined());
  optimizer_.step();
  EXPECT_EQ(server_->sent(), 2u);
}

TEST_F(GivenUpTest, AnAcceptedGradientThatWasGivenUpChangesNothing) {
  logprobs().sum().backward();
  stop_->stop(0s);
  for_a_caller([&] { model_->accept_server_gradient(); }).join();
  EXPECT_THAT(told_, HasSubstr("accept_server_gradient() was given up before it began"));
  EXPECT_TRUE(gradient().defined());
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

/// Says of every thread that it is its own.
struct EveryThread final : Executor {
  bool post(Task task) noexcept override {
    task();
    return true;
  }
  bool is_worker_thread() const noexcept override { return true; }
};

class OnAnExecutorTest : public RemoteModelTest {
 protected:
  OnAnExecutorTest() { server_->executor = std::make_shared<EveryThread>(); }
};

TEST_F(OnAnExecutorTest, AFailureBehindWhatCannotBeWaitedForIsThrownByTheNextCall) {
  const LossBatch batch{{ints({1, 2})}, {{"target_tokens", {ints({3, 4})}}}};
  const auto sent = HasSubstr("the call was sent, but cannot be waited for here");
  const auto fails_later = [&](auto call) {
    server_->later = true;
    server_->failure = refusal();
    EXPECT_THAT(thrown_by(call), sent);
    server_->answer_all();
    EXPECT_THAT(thrown_by([&] { model_->synchronize(); }), HasSubstr("too many"));
    EXPECT_THAT(thrown_by([&] { model_->synchronize(); }), "nothing");
  };
  fails_later([&] { logprobs().sum().backward(); });
  fails_later([&] { (void)model_->loss(loss::kCrossEntropy, batch); });
  fails_later([&] { model_->load_state("tinker://run/weights/a"); });
  logprobs().sum().backward();
  fails_later([&] { optimizer_.step(); });
  optimizer_.step();
  EXPECT_EQ(server_->calls.back(), "step");
}

}  // namespace
}  // namespace tinkex::torch_ext
