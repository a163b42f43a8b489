// What becomes of a submission whose sample is cancelled before it is answered. Spec T12.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

#include "tests/support/manual_runtime.h"
#include "tinkex/connection/remote_sampling.h"

namespace tinkex::internal {
namespace {

using std::chrono_literals::operator""s;
using ::testing::EndsWith;
using ::testing::HasSubstr;

class CancelledSampleTest : public ::testing::Test {
 protected:
  void SetUp() override {
    service->options.base_url = "http://127.0.0.1";
    service->runtime = world.runtime;
    service->polls = std::make_shared<PollGate>(4, world.executor);
    service->result_bytes = std::make_shared<PollGate>(1'000, world.executor);
    service->cancels = std::make_shared<PollGate>(4, world.executor);
    service->limiter = std::make_shared<RateLimiter>();
    service->sampling = std::make_shared<SamplingRegistry>();
    service->cancel_enabled = true;
    client.emplace(make_sampling_client(service, "sampler").value());
  }
  void TearDown() override { world.close(); }

  /// Submits a sample and cancels it before there is an answer.
  void cancel_one() {
    auto lost = client->sample(ModelInput::from_tokens({1}));
    ASSERT_THAT(world.transport->front().url, EndsWith("/asample"));
    lost.cancel();
    world.executor->run_all();
    EXPECT_EQ(lost.get().error().code(), ErrorCode::kCancelled);
  }

  testing::ManualRuntime world;
  std::shared_ptr<ServiceContext> service = std::make_shared<ServiceContext>();
  std::optional<SamplingClient> client;
};

TEST_F(CancelledSampleTest, T12_ItIsCalledOffAsSoonAsItsReplyNamesIt) {
  cancel_one();
  ASSERT_EQ(world.transport->open(), 1u);
  world.reply(200, R"({"request_id":"sample-7"})");
  ASSERT_EQ(world.transport->open(), 1u);
  EXPECT_EQ(world.transport->sent(), 2u) << "nobody asks for its result";
  EXPECT_THAT(world.transport->front().url, EndsWith("/cancel_future"));
  EXPECT_THAT(world.transport->front_body(), HasSubstr("sample-7"));
}

TEST_F(CancelledSampleTest, T12_AReplyThatDoesNotComeHoldsItsConnectionForTenSeconds) {
  cancel_one();
  world.advance(9s);
  EXPECT_EQ(world.transport->open(), 1u);
  world.advance(1s);
  EXPECT_EQ(world.transport->open(), 0u);
}

TEST_F(CancelledSampleTest, T12_ItIsNotSubmittedOnceMore) {
  service->options.sample_retry.max_attempts = 5;
  cancel_one();
  world.fail(Error(ErrorCode::kConnection, "reset").with_retryable(true));
  world.advance(600s);
  EXPECT_EQ(world.transport->sent(), 1u);
}

TEST_F(CancelledSampleTest, T12_AServerThatDoesNotOfferItIsNotWaitedFor) {
  service->cancel_enabled = false;
  cancel_one();
  EXPECT_EQ(world.transport->open(), 0u);
  EXPECT_EQ(world.transport->sent(), 1u);
}

}  // namespace
}  // namespace tinkex::internal
