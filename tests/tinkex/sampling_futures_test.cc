// Spec section 8: what a server may offer for samples beside one long poll each. T9, S5, T12.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/scripted_service.h"
#include "tinkex/base/mutex.h"
#include "tinkex/service_client.h"

namespace tinkex {
namespace {

using mocks::Gate;
using mocks::LoggedRequest;
using mocks::Reply;
using mocks::TinkerScript;
using nlohmann::json;
using testing::held_by;

class SamplingFuturesTest : public testing::ScriptedServiceTest {
 protected:
  void TearDown() override { gate->open(); }

  /// A server with these entries in its configurations.
  void connect(const std::string& config, const std::string& dynamic_config) {
    const auto fixed = [](std::string body) {
      return [body](const LoggedRequest&) { return Reply::json(body); };
    };
    tinker.server().handle("POST", TinkerScript::path("client/config"), fixed(config));
    tinker.server().handle("POST", TinkerScript::path("client/dynamic_config"),
                           fixed(dynamic_config));
    tinker.server().handle("POST", TinkerScript::path("cancel_future"), fixed("{}"));
    connect_service(tinker.options());
    auto made = service->create_sampling_client("base", std::nullopt).get();
    if (!made.ok()) throw std::runtime_error(made.error().what());
    client.emplace(*std::move(made));
  }

  /// Makes one sample.
  void connect_to_a_server_that_calls_off() {
    connect("{}", R"({"sample_cancel_enabled":true})");
    ASSERT_TRUE(wait_for_requests(1, "client/dynamic_config"));
    // The reply to the configuration travels too; a sample that comes back is behind it.
    ASSERT_TRUE(client->sample(prompt).get().ok());
  }

  /// Lets the server answer for all samples at once. It reports every sample that was submitted.
  void offer_retrieve_futures() {
    // The server outlives the members of this class.
    const auto reported = std::make_shared<Reported>();
    tinker.server().handle(
        "POST", TinkerScript::path("retrieve_futures"), [this, reported](const LoggedRequest&) {
          json completions = json::array();
          for (const auto& operation : tinker.operations("asample")) {
            internal::MutexLock lock(reported->mutex);
            if (!reported->ids.insert(operation.request_id).second) continue;
            completions.push_back({{"state", "finished"}, {"request_id", operation.request_id}});
          }
          return Reply::json(json{{"completions", completions}, {"cursor", 1}}.dump());
        });
  }

  struct Reported {
    internal::Mutex mutex;
    std::set<std::string> ids;
  };

  std::shared_ptr<Gate> gate = std::make_shared<Gate>();
  const ModelInput prompt = ModelInput::from_tokens({1, 2, 3});
  std::optional<SamplingClient> client;
};

// Spec T12.
TEST_F(SamplingFuturesTest, T12_ACancelledSampleIsCalledOffWhereTheServerWantsToKnow) {
  connect_to_a_server_that_calls_off();
  tinker.plan("asample", held_by(gate));
  auto lost = client->sample(prompt);
  ASSERT_TRUE(wait_for_requests(2, "retrieve_future"));
  lost.cancel();
  ASSERT_TRUE(wait_for_requests(1, "cancel_future"));
  EXPECT_EQ(json::parse(requests("cancel_future").front().body)["request_id"],
            tinker.operations("asample").back().request_id);
}

// Spec T12. Only the answer to the submission names what is called off.
TEST_F(SamplingFuturesTest, T12_ASampleThatIsCancelledBeforeItsSubmissionIsAnsweredIsCalledOff) {
  connect_to_a_server_that_calls_off();
  tinker.plan("asample", {.submit_gate = gate});
  auto lost = client->sample(prompt);
  ASSERT_TRUE(wait_for_requests(2, "asample"));
  const std::size_t polls = count("retrieve_future");
  lost.cancel();
  EXPECT_EQ(lost.get().error().code(), ErrorCode::kCancelled);
  gate->open();
  ASSERT_TRUE(wait_for_requests(1, "cancel_future"));
  EXPECT_EQ(json::parse(requests("cancel_future").front().body)["request_id"],
            tinker.operations("asample").back().request_id);
  EXPECT_EQ(count("retrieve_future"), polls) << "nobody asks for its result";
}

// Spec T12.
TEST_F(SamplingFuturesTest, T12_ALostOrRefusedCancelIsToldAgain) {
  connect_to_a_server_that_calls_off();
  script("cancel_future", {Reply::json("{}", 502), Reply::json("{}", 429)});
  tinker.plan("asample", held_by(gate));
  auto lost = client->sample(prompt);
  ASSERT_TRUE(wait_for_requests(2, "retrieve_future"));
  lost.cancel();
  EXPECT_TRUE(wait_for_requests(3, "cancel_future"));
}

// Spec T12.
TEST_F(SamplingFuturesTest, T12_AServerThatDoesNotOfferItIsNotTold) {
  connect("{}", "{}");
  tinker.plan("asample", held_by(gate));
  auto lost = client->sample(prompt);
  ASSERT_TRUE(wait_for_requests(1, "retrieve_future"));
  lost.cancel();
  EXPECT_TRUE(client->sample(prompt).get().ok());
  EXPECT_EQ(count("cancel_future"), 0u);
}

// Spec T9.
TEST_F(SamplingFuturesTest, T9_OnePollServesAllSamplesOfASession) {
  offer_retrieve_futures();
  connect(R"({"sample_use_retrieve_futures":true})", "{}");
  std::vector<Future<SampleResponse>> samples;
  for (int i = 0; i < 50; ++i) samples.push_back(client->sample(prompt));
  for (auto& sample : samples) {
    const auto& response = sample.get();
    ASSERT_TRUE(response.ok()) << response.error().what();
    EXPECT_EQ(response->sequences.size(), 1u);
  }
  const auto polls = requests("retrieve_future");  // and retrieve_futures, which begins like it
  const auto fetched = std::count_if(polls.begin(), polls.end(), [](const LoggedRequest& request) {
    return request.target == TinkerScript::path("retrieve_future");
  });
  EXPECT_EQ(fetched, 50) << "each result is fetched once, when it is there";
}

TEST_F(SamplingFuturesTest, AServerThatAnnouncesItAndRefusesItIsAskedForEachResult) {
  tinker.server().handle("POST", TinkerScript::path("retrieve_futures"),
                         [](const LoggedRequest&) { return Reply::json("{}", 404); });
  connect(R"({"sample_use_retrieve_futures":true})", "{}");
  EXPECT_TRUE(client->sample(prompt).get().ok());
  EXPECT_TRUE(client->sample(prompt).get().ok());
  EXPECT_EQ(count("retrieve_futures"), 1u);
}

// Spec C3.
TEST_F(SamplingFuturesTest, C3_TroubleOfTheCommonPollIsInTheErrorOfEveryDeadline) {
  tinker.server().handle("POST", TinkerScript::path("retrieve_futures"), [](const LoggedRequest&) {
    return Reply::json(R"({"detail":"the shard moves"})", 503);
  });
  connect(R"({"sample_use_retrieve_futures":true})", "{}");
  const auto late = client->sample(prompt, 1, {}, {}, {.deadline = std::chrono::seconds(1)}).get();
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_NE(std::string(late.error().what()).find("last heard: asking for the session's results"),
            std::string::npos)
      << late.error().what();
}

TEST_F(SamplingFuturesTest, ClosingWhileAllWaitInOnePollSettlesThem) {
  tinker.server().handle(
      "POST", TinkerScript::path("retrieve_futures"),
      [gate = gate](const LoggedRequest&) { return Reply::json("{}").held_by(gate); });
  connect(R"({"sample_use_retrieve_futures":true})", "{}");
  std::vector<Future<SampleResponse>> samples;
  for (int i = 0; i < 20; ++i) samples.push_back(client->sample(prompt));
  ASSERT_TRUE(wait_for_requests(1, "retrieve_futures"));
  service->close();
  for (auto& sample : samples) EXPECT_EQ(sample.get().error().code(), ErrorCode::kClosed);
}

}  // namespace
}  // namespace tinkex
