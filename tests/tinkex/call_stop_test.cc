// Calls that are stopped by another thread while they still read the caller's data.

#include "tinkex/base/call_stop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/scripted_service.h"
#include "tinkex/training_client.h"

namespace tinkex {
namespace {

using namespace std::chrono_literals;
using internal::CallStop;
using mocks::Gate;
using testing::batch;
using testing::kPatience;

class CallStopTest : public testing::ScriptedServiceTest {
 protected:
  CallStopTest() {
    ClientOptions options = tinker.options();
    options.max_queued_bytes = 1;  // a call waits as soon as one chunk is queued
    connect_service(std::move(options));
    client.emplace(service->create_lora_training_client("base").get().value());
  }

  /// Makes a call of five chunks on a thread that has announced `stop_`.
  std::thread call() {
    return std::thread([this] {
      CallStop::announce(stop_);
      const std::vector<Datum> data = batch(5 * 128);
      output_.emplace(client->forward_backward(data, loss::kCrossEntropy));
    });
  }

  std::optional<TrainingClient> client;
  std::shared_ptr<CallStop> stop_ = std::make_shared<CallStop>();
  std::optional<Future<ForwardBackwardOutput>> output_;
};

TEST_F(CallStopTest, ACallThatWaitsForTheBudgetReadsAndSendsNothingMore) {
  auto sending = std::make_shared<Gate>();
  tinker.plan("forward_backward", {.submit_gate = sending});
  std::thread caller = call();
  ASSERT_TRUE(wait_for_requests(1, "forward_backward"));
  stop_->stop(kPatience);
  caller.join();  // though its first chunk is not accepted yet
  EXPECT_EQ(output_->get().error().code(), ErrorCode::kCancelled);
  EXPECT_FALSE(output_->get().error().not_accepted());
  sending->open();
  EXPECT_TRUE(client->optim_step().get().ok());
  EXPECT_EQ(count("forward_backward"), 1u);
}

TEST_F(CallStopTest, ACallThatComesAfterwardsSendsNothing) {
  stop_->stop(0ms);
  call().join();
  EXPECT_EQ(output_->get().error().code(), ErrorCode::kCancelled);
  EXPECT_TRUE(output_->get().error().not_accepted());
  EXPECT_TRUE(client->optim_step().get().ok());
  EXPECT_EQ(count("forward_backward"), 0u);
}

TEST_F(CallStopTest, ACallThatHasReturnedGoesOn) {
  call().join();
  stop_->stop(0ms);
  EXPECT_TRUE(output_->get().ok());
}

TEST(CallStopPartTest, StoppingWaitsForTheEndOfThePart) {
  const auto stop = std::make_shared<CallStop>();
  const auto told = std::make_shared<std::atomic<bool>>(false);
  std::atomic<bool> begun{false};
  std::atomic<bool> ended{false};
  std::thread caller([&] {
    CallStop::announce(stop);
    const CallStop::Part part([told] { *told = true; });
    begun = true;
    while (!*told) std::this_thread::yield();
    std::this_thread::sleep_for(20ms);
    ended = true;
  });
  while (!begun) std::this_thread::yield();
  stop->stop(kPatience);
  EXPECT_TRUE(ended);
  caller.join();
}

TEST(CallStopPartTest, APartWithinAnotherEndsNeitherItNorItsHook) {
  const auto stop = std::make_shared<CallStop>();
  const auto told = std::make_shared<std::atomic<int>>(0);
  std::atomic<bool> begun{false};
  std::atomic<bool> ended{false};
  std::thread caller([&] {
    CallStop::announce(stop);
    const CallStop::Part outer([told] { *told += 1; });
    {
      const CallStop::Part over([told] { *told += 100; });
    }
    {
      const CallStop::Part inner([told] { *told += 10; });
      begun = true;
      const auto end = std::chrono::steady_clock::now() + kPatience;
      while (*told != 11 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    }
    std::this_thread::sleep_for(20ms);
    ended = true;
  });
  while (!begun) std::this_thread::yield();
  stop->stop(2 * kPatience);
  EXPECT_TRUE(ended);
  EXPECT_EQ(*told, 11);
  caller.join();
}

}  // namespace
}  // namespace tinkex
