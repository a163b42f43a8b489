// Spec T11, C3, S7: every future settles within its deadline, and says what was achieved.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "tests/support/scripted_service.h"
#include "tinkex/training_client.h"

namespace tinkex {
namespace {

using namespace std::chrono_literals;
using mocks::Gate;
using testing::batch;
using ::testing::HasSubstr;
using testing::held_by;

const CallOptions kSoon{.deadline = 30ms};
const CallOptions kLate{.deadline = 1s};

class DeadlineTest : public testing::ScriptedServiceTest {
 protected:
  void SetUp() override { connect(tinker.options()); }

  void connect(ClientOptions options) {
    connect_service(std::move(options));
    auto created = service->create_lora_training_client("base").get();
    if (!created.ok()) throw std::runtime_error(created.error().what());
    client.emplace(*std::move(created));
  }
  void TearDown() override { gate->open(); }

  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  std::optional<TrainingClient> client;
};

// Spec T11.
TEST_F(DeadlineTest, T11_AResultThatTakesTooLongEndsTheCallAndNotTheClient) {
  tinker.plan("forward_backward", held_by(gate));
  auto pass = client->forward_backward(batch(1), loss::kCrossEntropy, {}, kSoon);
  const Error& error = pass.get().error();
  EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(error.what(), HasSubstr("forward_backward: the deadline of 30 ms passed"));
  EXPECT_TRUE(error.retryable());
  EXPECT_EQ(error.accepted_request_ids().size(), 1u) << "the server may still carry it out";
  EXPECT_TRUE(wait_for_abandoned_poll()) << "nobody asks for its result any more";
  EXPECT_TRUE(client->optim_step().get().ok());
}

// Spec C3.
TEST_F(DeadlineTest, C3_ABatchThatIsCutOffTellsWhichChunksTheServerHas) {
  tinker.plan("forward_backward", {});
  tinker.plan("forward_backward", {.submit_gate = gate});
  auto pass = client->forward_backward(batch(300), loss::kCrossEntropy, {}, {.deadline = 200ms});
  const Error& error = pass.get().error();
  EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(error.total_chunks(), 3u);
  EXPECT_EQ(error.chunk(), 1u);
  EXPECT_EQ(error.accepted_request_ids().size(), 1u);
  gate->open();
  EXPECT_TRUE(client->optim_step().get().ok());
  EXPECT_EQ(count("forward_backward"), 2u) << "the third chunk never left";
}

// Spec T12.
TEST_F(DeadlineTest, T12_WhatWaitsForItsTurnWhenItsTimeIsUpNeverLeaves) {
  tinker.plan("forward_backward", {.submit_gate = gate});
  auto pass = client->forward_backward(batch(1), loss::kCrossEntropy);
  auto step = client->optim_step({}, kSoon);
  EXPECT_EQ(step.get().error().code(), ErrorCode::kDeadlineExceeded);
  gate->open();
  EXPECT_TRUE(pass.get().ok());
  EXPECT_TRUE(client->save_state("w").get().ok());
  EXPECT_EQ(count("optim_step"), 0u);
}

TEST_F(DeadlineTest, ACallWhoseTimeIsUpFromTheStartSendsNothing) {
  auto pass = client->forward_backward(batch(300), loss::kCrossEntropy, {}, {.deadline = 0ms});
  const Error& error = pass.get().error();
  EXPECT_EQ(error.code(), ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(error.not_accepted());
  EXPECT_TRUE(client->optim_step().get().ok());
  EXPECT_EQ(count("forward_backward"), 0u);
}

TEST_F(DeadlineTest, TheDeadlineOfTheClientIsThatOfEveryCallWithoutItsOwn) {
  ClientOptions options = tinker.options();
  options.default_deadline = 50ms;
  connect(options);
  tinker.plan("optim_step", held_by(gate));
  EXPECT_EQ(client->optim_step().get().error().code(), ErrorCode::kDeadlineExceeded);
  tinker.plan("optim_step", {.result_delay = 100ms});
  EXPECT_TRUE(client->optim_step({}, {.deadline = 10s}).get().ok());
}

// Spec C3: what the server said last is in the error of a call whose time is up.
TEST_F(DeadlineTest, C3_AServerThatRefusesUntilTheTimeIsUpIsQuoted) {
  ClientOptions options = tinker.options();
  options.retry.max_attempts = 1'000'000;
  options.retry.max_backoff = 20ms;
  connect(options);
  const std::string moving = R"({"detail":"the shard moves house"})";
  tinker.plan("optim_step", {.refusals = std::vector(1'000, mocks::Reply::json(moving, 503))});
  const auto late = client->optim_step({}, kLate).get();
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(late.error().what(), HasSubstr("last heard: optim_step: the server answered 503: "
                                             "the shard moves house"));
}

TEST_F(DeadlineTest, C3_AQueueThatStandsIsQuotedAndOneThatMovesIsNot) {
  const std::string standing = R"({"type":"try_again","request_id":"r","retry_after_ms":100,)"
                               R"("queue_state":"paused_capacity","queue_state_reason":"busy"})";
  tinker.plan("optim_step", {.polls = std::vector(1'000, mocks::Reply::json(standing))});
  EXPECT_THAT(client->optim_step({}, kLate).get().error().what(),
              HasSubstr("last heard: optim_step waits on the server: paused_capacity: busy"));

  tinker.plan("optim_step",
              {.polls = {mocks::Reply::json(standing), mocks::TinkerScript::try_again()},
               .result_gate = gate});
  EXPECT_THAT(client->optim_step({}, kLate).get().error().what(),
              ::testing::Not(HasSubstr("last heard")));
}

TEST_F(DeadlineTest, C3_ASampleThatABackOffHoldsBackSaysSo) {
  auto sampler = service->create_sampling_client("base", std::nullopt).get();
  ASSERT_TRUE(sampler.ok());
  tinker.plan("asample",
              {.refusals = {mocks::Reply::json("{}", 429).with_header("retry-after", "60")}});
  const auto prompt = ModelInput::from_tokens(std::vector<std::int64_t>{1, 2});
  ASSERT_EQ(sampler->sample(prompt, 1, {.max_tokens = 4}).get().error().http_status(), 429);
  EXPECT_THAT(sampler->sample(prompt, 1, {.max_tokens = 4}, {}, kSoon).get().error().what(),
              HasSubstr("last heard: an earlier 429 holds back every sample"));
}

// Spec S5.
TEST_F(DeadlineTest, S5_ASampleThatTakesTooLongEnds) {
  auto sampler = service->create_sampling_client("base", std::nullopt).get();
  ASSERT_TRUE(sampler.ok());
  tinker.plan("asample", held_by(gate));
  const auto prompt = ModelInput::from_tokens(std::vector<std::int64_t>{1, 2});
  auto late = sampler->sample(prompt, 1, {.max_tokens = 4}, {}, kSoon);
  EXPECT_EQ(late.get().error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_TRUE(wait_for_abandoned_poll());
  EXPECT_TRUE(sampler->sample(prompt, 1, {.max_tokens = 4}).get().ok());
}

TEST_F(DeadlineTest, MakingAClientHasADeadlineToo) {
  script("get_info", {mocks::Reply::json("{}").held_by(gate)});
  const auto late = service->create_lora_training_client("base", {}, kSoon).get();
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), ErrorCode::kDeadlineExceeded);
}

TEST_F(DeadlineTest, ClosingTheServiceIsNotTheEndOfADeadline) {
  tinker.plan("optim_step", held_by(gate));
  auto step = client->optim_step({}, {.deadline = std::chrono::hours(1)});
  ASSERT_TRUE(wait_for_requests(1, "retrieve_future"));
  service->close();
  EXPECT_EQ(step.get().error().code(), ErrorCode::kClosed);
}

}  // namespace
}  // namespace tinkex
