#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/scripted_service.h"
#include "tinkex/training_client.h"

namespace tinkex {
namespace {

using namespace std::chrono_literals;
using mocks::Operation;
using mocks::OperationPlan;
using mocks::Reply;
using testing::answers_batch;
using testing::batch;
using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr char kCheckpoint[] = "tinker://run/weights/w";

Json body_of(const mocks::LoggedRequest& request) { return Json::parse(request.body); }

/// Spec section 8, "Create from a saved state".
class CreateFromStateTest : public testing::ScriptedServiceTest {
 protected:
  void SetUp() override { connect_service(tinker.options()); }

  /// A server that loads weights into existing models only, and does that as planned.
  void know_two_steps_only(int status, OperationPlan load = {}) {
    tinker.plan_each([status, load](const Operation& operation) -> OperationPlan {
      if (operation.kind != "load_weights") return {};
      if (!Json::parse(operation.body).contains("session_id")) return load;
      return {.refusals = {Reply::json(R"({"detail":"Missing model_id"})", status)}};
    });
    const std::vector<Reply> infos(
        5, Reply::json(R"({"base_model":"b","is_lora":true,"lora_rank":4,"train_mlp":false})"));
    script("weights_info", infos);
  }
  Result<TrainingClient> create(bool with_optimizer = true) {
    return service->create_training_client_from_state(kCheckpoint, with_optimizer).get();
  }
};

TEST_F(CreateFromStateTest, OneLoadOfTheNewModelIsEnoughWhereTheServerKnowsIt) {
  auto client = create(false);
  ASSERT_TRUE(client.ok()) << client.error().what();
  EXPECT_EQ(client->model_id(), "model-1");
  const auto loads = requests("load_weights");
  ASSERT_EQ(loads.size(), 1u);
  EXPECT_EQ(body_of(loads[0]), Json({{"session_id", "session-1"},
                                     {"model_seq_id", 0},
                                     {"path", kCheckpoint},
                                     {"optimizer", false},
                                     {"type", "load_weights"}}));
  EXPECT_EQ(count("create_model"), 0u);
  EXPECT_TRUE(answers_batch(client->forward_backward(batch(1), loss::kCrossEntropy).get(), 1));
  EXPECT_EQ(tinker.operations("forward_backward").front().seq_id, 1);
}

TEST_F(CreateFromStateTest, AReplyWithoutAModelLeavesTheIdThatFollowsFromSessionAndNumber) {
  tinker.plan("load_weights", {.result = Reply::json(R"({"type":"load_weights"})")});
  const auto client = create();
  ASSERT_TRUE(client.ok()) << client.error().what();
  EXPECT_EQ(client->model_id(), "session-1:train:0");
  EXPECT_EQ(body_of(requests("get_info").front()).at("model_id"), "session-1:train:0");
}

class TwoStepServerTest : public CreateFromStateTest, public ::testing::WithParamInterface<int> {};

TEST_P(TwoStepServerTest, ARefusedFormGivesWayToTheOlderOneWhichIsRemembered) {
  know_two_steps_only(GetParam());
  for (int i = 0; i < 2; ++i) {
    const auto client = create();
    ASSERT_TRUE(client.ok()) << client.error().what();
  }
  const auto loads = requests("load_weights");
  ASSERT_EQ(loads.size(), 3u) << "the newer form is tried once";
  EXPECT_TRUE(body_of(loads[0]).contains("session_id"));
  const auto created = requests("create_model");
  ASSERT_EQ(created.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    const Json load = body_of(loads[i + 1]);
    EXPECT_EQ(load.at("path"), kCheckpoint);
    EXPECT_EQ(load.at("seq_id"), 1);
    EXPECT_EQ(load.at("optimizer"), true);
    const Json model = body_of(created[i]);
    EXPECT_EQ(model.at("base_model"), "b");
    EXPECT_EQ(model.at("lora_config").at("rank"), 4);
    EXPECT_EQ(model.at("lora_config").at("train_mlp"), false);
    EXPECT_EQ(model.at("model_seq_id"), i) << "the refused form has used no number up";
  }
}

INSTANTIATE_TEST_SUITE_P(Refusals, TwoStepServerTest, ::testing::Values(400, 404, 422));

// Spec T11.
TEST_F(CreateFromStateTest, T11_TheCallsOwnDeadlineIsThatOfItsLastStepToo) {
  ClientOptions options = tinker.options();
  options.default_deadline = 500ms;
  connect_service(std::move(options));
  know_two_steps_only(404, {.result_delay = 700ms});
  const auto client =
      service->create_training_client_from_state(kCheckpoint, true, {.deadline = 1min}).get();
  EXPECT_TRUE(client.ok()) << client.error().what();
}

// Spec C3.
TEST_F(CreateFromStateTest, C3_WhatTheServerSaysOfTheLoadIsInTheErrorOfTheDeadline) {
  know_two_steps_only(
      404, {.polls = std::vector(1'000, mocks::TinkerScript::try_again("paused_capacity", 50ms))});
  const auto late =
      service->create_training_client_from_state(kCheckpoint, true, {.deadline = 1s}).get();
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code(), ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(late.error().what(), HasSubstr("create_training_client_from_state: the deadline"));
  EXPECT_THAT(late.error().what(),
              HasSubstr("last heard: load_weights waits on the server: paused_capacity"));
}

TEST_F(CreateFromStateTest, AMissingCheckpointIsReportedByTheOlderFormAndDecidesNothing) {
  tinker.plan("load_weights", {.refusals = {Reply::json(R"({"detail":"unknown path"})", 404)}});
  script("weights_info", {Reply::json(R"({"detail":"no such checkpoint"})", 404)});
  const auto missing = create();
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().http_status(), 404);
  EXPECT_THAT(missing.error().message(), HasSubstr("no such checkpoint"));
  EXPECT_EQ(count("create_model"), 0u);

  ASSERT_TRUE(create().ok()) << "and the newer form is tried again";
  EXPECT_EQ(count("load_weights"), 2u);
}

TEST_F(CreateFromStateTest, OnceTheNewerFormWorkedItsRefusalIsFinal) {
  ASSERT_TRUE(create().ok());
  tinker.plan("load_weights", {.refusals = {Reply::json(R"({"detail":"unknown path"})", 404)}});
  const auto missing = create();
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message(), HasSubstr("unknown path"));
  EXPECT_EQ(count("weights_info"), 0u);
}

TEST_F(CreateFromStateTest, AFailureAfterTheSubmissionWasTakenIsFinal) {
  tinker.plan("load_weights", {.polls = {Reply::json(R"({"detail":"of another shape"})", 400)}});
  const auto failed = create();
  ASSERT_FALSE(failed.ok());
  EXPECT_THAT(failed.error().message(), HasSubstr("of another shape"));
  EXPECT_EQ(count("weights_info"), 0u);
}

TEST_F(CreateFromStateTest, ALostReplyIsAskedForAgainAndMakesOneModel) {
  script("load_weights", {Reply::hang_up()});
  ASSERT_TRUE(create().ok());
  const auto loads = requests("load_weights");
  ASSERT_EQ(loads.size(), 2u);
  EXPECT_EQ(loads[0].body, loads[1].body);
}

TEST_F(CreateFromStateTest, ARefusalAfterALostReplyTakesANewNumberForTheOlderForm) {
  know_two_steps_only(422);
  script("load_weights", {Reply::hang_up()});
  ASSERT_TRUE(create().ok());
  EXPECT_EQ(body_of(requests("create_model").front()).at("model_seq_id"), 1);
}

TEST_F(CreateFromStateTest, TroubleThatIsNoRefusalDoesNotChangeTheForm) {
  script("load_weights", std::vector<Reply>(8, Reply::json("{}", 503)));
  EXPECT_EQ(create().error().http_status(), 503);
  EXPECT_EQ(count("weights_info"), 0u);
}

}  // namespace
}  // namespace tinkex
