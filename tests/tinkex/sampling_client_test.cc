#include "tinkex/sampling_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/scripted_service.h"
#include "tinkex/base/mutex.h"
#include "tinkex/limits/rate_limiter_registry.h"
#include "tinkex/service_client.h"

namespace tinkex {
namespace {

using namespace std::chrono_literals;
using mocks::Fault;
using mocks::Gate;
using mocks::Reply;
using mocks::TinkerScript;
using testing::held_by;
using testing::kPatience;

class SamplingClientTest : public testing::ScriptedServiceTest {
 protected:
  void connect(ClientOptions options) {
    connect_service(std::move(options));
    client.emplace(new_client());
  }
  void connect() { connect(tinker.options()); }
  SamplingClient new_client() {
    auto made = service->create_sampling_client("base", std::nullopt).get();
    if (!made.ok()) throw std::runtime_error(made.error().what());
    return *std::move(made);
  }
  Future<SampleResponse> sample() { return client->sample(prompt); }

  const ModelInput prompt = ModelInput::from_tokens({1, 2, 3});
  std::optional<SamplingClient> client;
};

/// The plan of a sample that the server refuses, naming a time to stay away.
mocks::OperationPlan refused_for(std::string header, std::string time) {
  return {.refusals = {Reply::json("{}", 429).with_header(std::move(header), std::move(time))}};
}

// Spec F2.
// Spec S5.
TEST_F(SamplingClientTest, S5_ASampleComesBackWithTokensLogprobsAndItsSequenceId) {
  connect();
  EXPECT_EQ(client->session_id(), "sampler-1");
  SamplingParams params;
  params.max_tokens = 5;
  params.stop = std::vector<SamplingParams::Stop>{"\n", std::int64_t{9}};
  auto response = client->sample(prompt, 1, params).get();
  ASSERT_TRUE(response.ok()) << response.error().what();
  ASSERT_EQ(response->sequences.size(), 1u);
  EXPECT_EQ(response->sequences[0].tokens, (std::vector<std::int32_t>{1, 2, 3}));
  EXPECT_EQ(response->sequences[0].logprobs, (std::vector<float>{-1, -2, -3}));
  EXPECT_EQ(response->sequences[0].stop_reason, StopReason::kStop);
  EXPECT_TRUE(response->prompt_logprobs.empty()) << "not asked for";
  const mocks::Operation sample = tinker.operations("asample").front();
  EXPECT_EQ(response->sequences[0].sequence_id, sample.request_id + "-0");
  const auto body = nlohmann::json::parse(sample.body);
  EXPECT_EQ(body.at("seq_id"), 1);
  EXPECT_EQ(body.at("sampling_session_id"), "sampler-1");
  EXPECT_EQ(body.at("sampling_params").at("max_tokens"), 5);
  EXPECT_EQ(body.at("prompt").at("chunks").at(0).at("tokens"), (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(body.at("sampling_params").at("stop"), nlohmann::json::parse(R"(["\n",9])"));
}

// Spec S8.
TEST_F(SamplingClientTest, S8_ManyThreadsGetAPermutationOfTheNumbersFromOne) {
  connect();
  constexpr int kThreads = 4;
  constexpr int kEach = 100;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this] {
      std::vector<Future<SampleResponse>> pending;
      for (int i = 0; i < kEach; ++i) pending.push_back(sample());
      for (auto& one : pending) EXPECT_TRUE(one.get().ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::int64_t> ids;
  for (const auto& request : requests("asample")) {
    ids.insert(nlohmann::json::parse(request.body).at("seq_id").get<std::int64_t>());
  }
  EXPECT_EQ(count("asample"), static_cast<std::size_t>(kThreads * kEach));
  EXPECT_EQ(ids.size(), static_cast<std::size_t>(kThreads * kEach));
  EXPECT_EQ(*ids.begin(), 1);
  EXPECT_EQ(*ids.rbegin(), kThreads * kEach);
}

// Spec H2, C4.
TEST_F(SamplingClientTest, H2_C4_SampleTakesNoLockOnItsWayToTheWire) {
  connect();
  const std::uint64_t before = internal::Mutex::acquisitions_of_this_thread();
  auto pending = sample();
  EXPECT_EQ(internal::Mutex::acquisitions_of_this_thread(), before);
  EXPECT_TRUE(pending.get().ok());
}

// Spec S1.
TEST_F(SamplingClientTest, S1_SamplesPassATrainingClientWhoseWireIsHeld) {
  connect();
  auto training = service->create_lora_training_client("base").get();
  ASSERT_TRUE(training.ok());
  auto gate = std::make_shared<Gate>();
  tinker.plan("optim_step", {.refusals = {Reply::json("{}", 503).held_by(gate)}});
  TrainingClient trainer = *training;
  auto step = trainer.optim_step();
  ASSERT_TRUE(wait_for_requests(1, "optim_step"));
  EXPECT_TRUE(sample().get().ok());
  EXPECT_FALSE(step.ready());
  gate->open();
  EXPECT_TRUE(step.get().ok());
}

// Spec S2.
TEST_F(SamplingClientTest, S2_AServerErrorAtCreationIsAnErrorValue) {
  connect();
  script("create_sampling_session", {Reply::json(R"({"detail":"no such model"})", 404)});
  auto made = service->create_sampling_client("unknown", std::nullopt).get();
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().http_status(), 404);
  EXPECT_NE(made.error().message().find("no such model"), std::string::npos);
}

// Spec S2.
TEST_F(SamplingClientTest, S2_WhatNamesNoModelIsRefusedBeforeAnythingIsSent) {
  connect();
  const std::size_t sent = count("create_sampling_session");
  const std::pair<std::optional<std::string>, std::optional<std::string>> bad[] = {
      {std::nullopt, std::nullopt},
      {"base", "tinker://r/sampler_weights/x"},
      {"", std::nullopt},
      {"bad \xff", std::nullopt},
      {std::nullopt, "r/sampler_weights"},
      {std::nullopt, "tinker://r/weights/x"}};
  for (const auto& [base_model, model_path] : bad) {
    EXPECT_EQ(service->create_sampling_client(base_model, model_path).get().error().code(),
              ErrorCode::kInvalidArgument);
  }
  EXPECT_EQ(service->create_lora_training_client("bad \xff").get().error().code(),
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(count("create_sampling_session"), sent);
  EXPECT_EQ(count("create_model"), 0u);
}

// Spec S6, S13.
TEST_F(SamplingClientTest, S6_S13_AClosedClientAnswersAtOnceWithoutTheNetwork) {
  connect();
  client->close();
  auto pending = sample();
  EXPECT_TRUE(pending.ready());
  EXPECT_EQ(pending.get().error().code(), ErrorCode::kClosed);
  EXPECT_EQ(count("asample"), 0u);
}

// Spec S12.
TEST_F(SamplingClientTest, S12_ClosingAClientLetsItsPendingSamplesFinish) {
  connect();
  auto gate = std::make_shared<Gate>();
  tinker.plan("asample", held_by(gate));
  auto pending = sample();
  ASSERT_TRUE(wait_for_requests(1, "retrieve_future"));
  client.reset();
  gate->open();
  EXPECT_TRUE(pending.get().ok());
  EXPECT_EQ(tinker.operations("asample").front().polls, 2);
}

// Spec S11.
TEST_F(SamplingClientTest, S11_A500OrAResetIsReportedAndNotRepeated) {
  connect();
  const std::vector<Reply> faults{Reply::json("{}", 500), Reply::json("{}", 503),
                                  Reply::hang_up(Fault::kReset), Reply::hang_up()};
  std::size_t sent = 0;
  for (const Reply& fault : faults) {
    tinker.plan("asample", {.refusals = {fault}});
    auto response = sample().get();
    ASSERT_FALSE(response.ok());
    EXPECT_TRUE(response.error().retryable());
    EXPECT_EQ(count("asample"), ++sent) << response.error().what();
  }
  EXPECT_TRUE(tinker.operations("asample").empty());
  EXPECT_TRUE(sample().get().ok());
}

// Spec S10, X6.
TEST_F(SamplingClientTest, S10_X6_A429HoldsBackSiblingsOfTheSameKeyAndNobodyElse) {
  connect();
  SamplingClient sibling = new_client();
  tinker.plan("asample", refused_for("retry-after-ms", "120"));
  EXPECT_EQ(sample().get().error().http_status(), 429);
  const auto refused = requests("asample").back().replied.time;

  ClientOptions other_key = tinker.options();
  other_key.api_key = "tml-other";
  auto other = ServiceClient::connect(std::move(other_key));
  ASSERT_TRUE(other.ok());
  auto stranger = other->create_sampling_client("base", std::nullopt).get();
  ASSERT_TRUE(stranger.ok());
  SamplingClient free_client = *stranger;
  EXPECT_TRUE(free_client.sample(prompt).get().ok());

  EXPECT_TRUE(sibling.sample(prompt).get().ok());
  ASSERT_EQ(count("asample"), 3u);
  EXPECT_GE(requests("asample").back().began.time - refused, 115ms);
}

// Spec X7.
TEST_F(SamplingClientTest, X7_ClientsOfOneServiceShareALimiterAndKeysAreNormalised) {
  RateLimiterRegistry registry;
  const auto limiter = registry.get({"https://H:443/x", "tml-a"});
  EXPECT_EQ(limiter, registry.get({"https://h", "tml-a"}));
  EXPECT_NE(limiter, registry.get({"https://h", "tml-b"}));
  EXPECT_NE(limiter, registry.get({"https://h2", "tml-a"}));
}

// Spec S7.
TEST_F(SamplingClientTest, S7_ThousandWaitingSamplesHoldNoThread) {
  connect();
  tinker.plan("asample", refused_for("retry-after-ms", "150"));
  EXPECT_FALSE(sample().get().ok());
  std::vector<Future<SampleResponse>> waiting;
  for (int i = 0; i < 1000; ++i) waiting.push_back(sample());
  auto elsewhere = service->get_supported_models();
  elsewhere.wait_for(kPatience);
  ASSERT_TRUE(elsewhere.ready()) << "the arena and the I/O thread are free";
  EXPECT_EQ(elsewhere.get().value().front().model_name, "scripted");
  for (auto& one : waiting) EXPECT_TRUE(one.get().ok());
}

TEST_F(SamplingClientTest, OptInRetryRepeatsWithTheSameNumber) {
  ClientOptions options = tinker.options();
  options.sample_retry = {.max_attempts = 3, .initial_backoff = 5ms};
  connect(std::move(options));
  tinker.plan("asample", {.refusals = {Reply::json("{}", 500), Reply::hang_up(Fault::kReset)}});
  EXPECT_TRUE(sample().get().ok());
  const auto log = requests("asample");
  ASSERT_EQ(log.size(), 3u);
  EXPECT_EQ(log[0].body, log[1].body);
  EXPECT_EQ(log[0].body, log[2].body);
  EXPECT_EQ(tinker.operations("asample").front().submissions, 3);
}

TEST_F(SamplingClientTest, ComputeLogprobsGivesNanWhereUndefined) {
  connect();
  auto logprobs = client->compute_logprobs(prompt).get();
  ASSERT_TRUE(logprobs.ok());
  ASSERT_EQ(logprobs->size(), 3u);
  EXPECT_TRUE(std::isnan((*logprobs)[0]));
  EXPECT_EQ((*logprobs)[1], -2.0f);
  EXPECT_EQ((*logprobs)[2], -3.0f);
}

TEST_F(SamplingClientTest, BadParametersAreRefusedBeforeAnythingIsSent) {
  connect();
  SamplingParams params;
  params.temperature = -1;
  EXPECT_EQ(client->sample(prompt, 1, params).get().error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client->sample(prompt, 0).get().error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(client->sample(ModelInput()).get().error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(count("asample"), 0u);
}

// Spec H2.
TEST_F(SamplingClientTest, H2_ReadersSurviveClientsComingAndGoing) {
  connect();
  std::atomic<bool> stop{false};
  std::thread churn([this, &stop] {
    while (!stop.load()) {
      SamplingClient short_lived = new_client();
      short_lived.close();
    }
  });
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([this] {
      for (int i = 0; i < 100; ++i) EXPECT_TRUE(sample().get().ok());
    });
  }
  for (std::thread& reader : readers) reader.join();
  stop = true;
  churn.join();
}

TEST_F(SamplingClientTest, CancelEndsASampleThatWaitsForTheWindow) {
  connect();
  tinker.plan("asample", refused_for("retry-after", "30"));
  EXPECT_FALSE(sample().get().ok());
  auto waiting = sample();
  EXPECT_FALSE(waiting.ready());
  waiting.cancel();
  EXPECT_EQ(waiting.get().error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(count("asample"), 1u);
}

TEST_F(SamplingClientTest, HeartbeatsGoOnWhileContinuationsHoldEveryThreadOfTheExecutor) {
  ClientOptions options = tinker.options();
  options.heartbeat_interval = 10ms;
  options.executor_threads = 2;
  connect(std::move(options));
  std::promise<void> host;
  const std::shared_future<void> released = host.get_future().share();
  std::atomic<int> blocked{0};
  std::vector<Future<Unit>> continuations;
  for (int i = 0; i < 2; ++i) {
    continuations.push_back(sample().then([released, &blocked](Result<SampleResponse>) {
      blocked.fetch_add(1);
      released.wait();
    }));
  }
  while (blocked.load() < 2) std::this_thread::yield();
  EXPECT_TRUE(wait_for_requests(count("session_heartbeat") + 3, "session_heartbeat"));
  host.set_value();
  for (auto& continuation : continuations) EXPECT_TRUE(continuation.get().ok());
}

}  // namespace
}  // namespace tinkex
