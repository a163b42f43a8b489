#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/scripted_service.h"
#include "tinkex/training_client.h"

namespace tinkex {
namespace {

using mocks::Fault;
using mocks::Gate;
using mocks::Operation;
using mocks::Reply;
using mocks::TinkerScript;
using testing::batch;
using ::testing::HasSubstr;

/// What may go wrong between accepting and answering, seen through the whole client.
class TrainingFaultsTest : public testing::ScriptedServiceTest {
 protected:
  void SetUp() override {
    connect_service(tinker.options());
    auto created = service->create_lora_training_client("base").get();
    if (!created.ok()) throw std::runtime_error(created.error().what());
    client.emplace(*std::move(created));
  }

  std::optional<TrainingClient> client;
};

// Spec X3, T8.
TEST_F(TrainingFaultsTest, X3_T8_ABrokenPollNeverHangsAndTheClientGoesOn) {
  const std::vector<Reply> faults{
      Reply::broken(Fault::kReset, 1000, 10), Reply::broken(Fault::kClose, 1000, 10),
      Reply::hang_up(), Reply::hang_up(Fault::kReset), Reply::garbage("\x01\x02 not HTTP\r\n\r\n")};
  for (const Reply& fault : faults) {
    tinker.plan("forward_backward", {.polls = {fault}});
    ASSERT_TRUE(
        testing::answers_batch(client->forward_backward(batch(1), loss::kCrossEntropy).get(), 1))
        << "not asked again";
    EXPECT_EQ(tinker.operations("forward_backward").back().polls, 2);
  }
  const std::vector<Reply> nonsense{Reply::json("<html>oops"), Reply::protobuf("\xff\xff\xff"),
                                    Reply::with_type("text/plain", "[1,2"),
                                    Reply::json(R"({"loss_fn_outputs":5})")};
  for (const Reply& reply : nonsense) {
    tinker.plan("forward_backward", {.polls = {reply}});
    auto output = client->forward_backward(batch(1), loss::kCrossEntropy).get();
    ASSERT_FALSE(output.ok()) << reply.body;
    EXPECT_EQ(output.error().code(), ErrorCode::kDecode) << output.error().what();
    EXPECT_EQ(output.error().request_id(), tinker.operations("forward_backward").back().request_id);
    for (const char* word : {"exception", "nlohmann", "parse_error"}) {
      EXPECT_EQ(output.error().message().find(word), std::string::npos) << output.error().what();
    }
    EXPECT_EQ(tinker.operations("forward_backward").back().polls, 1);
  }
  EXPECT_TRUE(
      testing::answers_batch(client->forward_backward(batch(1), loss::kCrossEntropy).get(), 1));
}

// A server numbers the datums of each request anew.
TEST_F(TrainingFaultsTest, AnErrorOfAChunkSaysWhichDatumsItsRequestHad) {
  tinker.plan("forward_backward", {});
  tinker.plan("forward_backward", {.result = TinkerScript::failed("datum 22: bad", "user")});
  EXPECT_THAT(client->forward_backward(batch(200), loss::kCrossEntropy).get().error().message(),
              HasSubstr("forward_backward of datums 128 to 199 (there 0 to 71) failed: datum 22"));
  tinker.plan("forward_backward", {.result = TinkerScript::failed("datum 22: bad", "user")});
  EXPECT_THAT(client->forward_backward(batch(100), loss::kCrossEntropy).get().error().message(),
              HasSubstr("forward_backward failed: datum 22"));
}

TEST_F(TrainingFaultsTest, APageThatRepeatsTheKeyInsteadOfAResultIsAnErrorWithoutIt) {
  ClientOptions options = tinker.options();
  options.api_key = "own-secret";
  connect_service(std::move(options));
  auto other = service->create_lora_training_client("base").get().value();
  const std::string page = "<pre>X-API-Key: own-secret</pre>";
  const std::string long_line(70'000, ' ');  // more than all that is no result
  for (const mocks::OperationPlan& plan :
       {mocks::OperationPlan{.result = Reply::json(page), .immediate = true},
        mocks::OperationPlan{.polls = {Reply::json(page)}},
        mocks::OperationPlan{.polls = {Reply::json(page + long_line)}},
        mocks::OperationPlan{.polls = {Reply::json("{\"own-secret\"" + long_line)}}}) {
    tinker.plan("forward_backward", plan);
    const auto output = other.forward_backward(batch(1), loss::kCrossEntropy).get();
    ASSERT_FALSE(output.ok());
    EXPECT_EQ(output.error().code(), ErrorCode::kDecode) << output.error().what();
    EXPECT_EQ(std::string(output.error().what()).find("secret"), std::string::npos)
        << output.error().what();
  }
}

// Spec T12.
TEST_F(TrainingFaultsTest, T12_ACancelledStepThatWaitsItsTurnIsNeverSent) {
  const auto gate = std::make_shared<Gate>();
  tinker.plan("forward_backward", {.submit_gate = gate});
  auto pass = client->forward_backward(batch(1), loss::kCrossEntropy);
  auto step = client->optim_step();
  ASSERT_TRUE(wait_for_requests(1, "forward_backward"));
  step.cancel();
  EXPECT_EQ(step.get().error().code(), ErrorCode::kCancelled);
  gate->open();
  EXPECT_TRUE(pass.get().ok());
  EXPECT_TRUE(client->save_state("w").get().ok()) << "the order goes on";
  EXPECT_EQ(count("optim_step"), 0u);
}

// Spec T12.
TEST_F(TrainingFaultsTest, T12_ACancelledBatchSendsNoFurtherChunk) {
  const auto gate = std::make_shared<Gate>();
  tinker.plan("forward_backward", {.submit_gate = gate});
  auto pass = client->forward_backward(batch(300), loss::kCrossEntropy);
  ASSERT_TRUE(wait_for_requests(1, "forward_backward"));
  pass.cancel();
  gate->open();
  EXPECT_TRUE(client->optim_step().get().ok());
  EXPECT_EQ(count("forward_backward"), 1u);
}

// Spec C3.
TEST_F(TrainingFaultsTest, C3_AChunkWhoseResultCameAtOnceHasNoIdToBeListed) {
  tinker.plan("forward_backward", {.immediate = true});
  tinker.plan("forward_backward", {});
  tinker.plan("forward_backward", {.refusals = {Reply::json(R"({"detail":"full"})", 413)}});
  const auto output = client->forward_backward(batch(300), loss::kCrossEntropy).get();
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().chunk(), 2u) << "two were accepted";
  EXPECT_EQ(output.error().accepted_request_ids(),
            std::vector<std::string>{tinker.operations("forward_backward")[1].request_id});
}

TEST_F(TrainingFaultsTest, Trap7_AnOperationWhoseAnswerWasLostIsCarriedOutOnce) {
  tinker.plan("forward_backward",
              {.lost = {Reply::hang_up(Fault::kReset), Reply::json("{}", 500)}});
  EXPECT_TRUE(
      testing::answers_batch(client->forward_backward(batch(2), loss::kCrossEntropy).get(), 2));
  ASSERT_EQ(tinker.operations("forward_backward").size(), 1u);
  EXPECT_EQ(tinker.operations("forward_backward")[0].submissions, 3);
}

// Spec X3.
TEST_F(TrainingFaultsTest, X3_AnUnreadableAcceptanceNamesTheCall) {
  tinker.plan("optim_step", {.refusals = {Reply::json(R"({"request_id":"a)")}});
  const auto updated = client->optim_step().get();
  ASSERT_FALSE(updated.ok());
  EXPECT_EQ(updated.error().code(), ErrorCode::kDecode);
  EXPECT_THAT(updated.error().message(), HasSubstr("optim_step: the reply is not a JSON object"));
  for (const char* reply : {R"({"request_id":"a)", R"({"request_id":"\u0001"})"}) {
    tinker.plan("forward_backward", {.refusals = {Reply::json(reply)}});
    const auto output = client->forward_backward(batch(1), loss::kCrossEntropy).get();
    ASSERT_FALSE(output.ok()) << reply;
    EXPECT_EQ(output.error().code(), ErrorCode::kDecode) << reply;
    EXPECT_THAT(output.error().message(), HasSubstr("forward_backward: ")) << reply;
  }
}

// Spec T11.
TEST_F(TrainingFaultsTest, T11_AResultThatCannotBeAskedForSettlesAfterMaxPollFailing) {
  ClientOptions options = tinker.options();
  options.max_poll_failing = std::chrono::milliseconds(1);
  connect_service(std::move(options));
  auto other = service->create_lora_training_client("base").get().value();
  tinker.plan("optim_step", {.polls = {Reply::json(R"({"detail":"broken"})", 500)}});
  const auto updated = other.optim_step().get();
  ASSERT_FALSE(updated.ok());
  EXPECT_EQ(updated.error().http_status(), 500);
  EXPECT_THAT(updated.error().message(), HasSubstr("asking for the result failed 1 times"));
}

TEST_F(TrainingFaultsTest, TheLongestMaxPollFailingIsForEver) {
  ClientOptions options = tinker.options();
  options.max_poll_failing = std::chrono::milliseconds::max();
  connect_service(std::move(options));
  auto other = service->create_lora_training_client("base").get().value();
  tinker.plan("optim_step", {.polls = {Reply::json(R"({"detail":"broken"})", 500)}});
  EXPECT_TRUE(other.optim_step().get().ok());
}

TEST_F(TrainingFaultsTest, WhatIsRefusedHereWasNotAccepted) {
  std::vector<Datum> wrong = batch(1);
  wrong[0].loss_fn_inputs.clear();
  const auto refused = client->forward_backward(wrong, loss::kCrossEntropy).get();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(refused.error().not_accepted());
}

TEST_F(TrainingFaultsTest, ABatchOfWhichAChunkWasAcceptedDoesNotCountAsRefused) {
  tinker.plan("forward_backward", {});
  tinker.plan("forward_backward", {.refusals = {Reply::json(R"({"detail":"too large"})", 413)}});
  const auto output = client->forward_backward(batch(129), loss::kCrossEntropy).get();
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().accepted_request_ids().size(), 1u);
  EXPECT_FALSE(output.error().not_accepted());
}

TEST_F(TrainingFaultsTest, ASaveWhoseReplyWasLostIsFoundToBeDone) {
  tinker.plan("save_weights", {.refusals = {Reply::hang_up(Fault::kReset),
                                            Reply::json(R"({"detail":"exists"})", 409)}});
  const auto saved = client->save_state("w").get();
  ASSERT_TRUE(saved.ok()) << saved.error().what();
  EXPECT_EQ(saved->path, "tinker://model-1/weights/w");
}

TEST_F(TrainingFaultsTest, ASaveUnderANameThatMayBeOlderIsNotFoundToBeDone) {
  ASSERT_TRUE(client->save_state("latest").get().ok());
  for (const bool overwrite : {false, true}) {
    tinker.plan("save_weights",
                {.refusals = {Reply::json("{}", 503), Reply::json(R"({"detail":"exists"})", 409)}});
    const auto saved = client->save_state("latest", overwrite).get();
    ASSERT_FALSE(saved.ok());
    EXPECT_EQ(saved.error().http_status(), 409);
    EXPECT_THAT(saved.error().message(), HasSubstr("may as well be an older checkpoint"));
  }
}

// Spec T10.
TEST_F(TrainingFaultsTest, T10_ResultsForAnotherNumberOfDatumsAreRefused) {
  tinker.set_result("forward_backward", [](const Operation&, std::string_view) {
    return Reply::json(
        R"({"loss_fn_output_type":"t","loss_fn_outputs":[{}],"metrics":{"loss:sum":1}})");
  });
  const auto output = client->forward_backward(batch(2), loss::kCrossEntropy).get();
  ASSERT_FALSE(output.ok());
  EXPECT_EQ(output.error().code(), ErrorCode::kDecode);
  EXPECT_THAT(output.error().message(), HasSubstr("for 1 datums, but the chunk has 2"));
}

TEST_F(TrainingFaultsTest, Trap11_A429OnTrainingHoldsSamplesBack) {
  auto sampler = service->create_sampling_client("base", std::nullopt).get();
  ASSERT_TRUE(sampler.ok());
  tinker.plan("optim_step",
              {.refusals = {Reply::json("{}", 429).with_header("retry-after-ms", "200")}});
  const auto begun = std::chrono::steady_clock::now();
  auto step = client->optim_step();
  ASSERT_TRUE(wait_for_requests(2, "optim_step"));
  EXPECT_TRUE(step.get().ok());
  EXPECT_TRUE(sampler->sample(ModelInput::from_tokens({1})).get().ok());
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::milliseconds(190));
}

// Spec T12.
TEST_F(TrainingFaultsTest, T12_WhatTheServerSaysOfAClosedSessionIsClosed) {
  const auto gate = std::make_shared<Gate>();
  tinker.server().handle("POST", TinkerScript::path("sessions/session-1/finish"),
                         [gate](const auto&) {
                           gate->open();  // the answers of all that waits are ahead of this one
                           return Reply::json("{}").after(std::chrono::milliseconds(100));
                         });
  tinker.plan("forward_backward",
              {.polls = {Reply::json(R"({"detail":"session finished"})", 410).held_by(gate)}});
  tinker.plan(
      "optim_step",
      {.polls = {Reply::json(R"({"error":"session finished","category":"user"})").held_by(gate)}});
  tinker.plan("save_weights",
              {.refusals = {Reply::json(R"({"detail":"unknown model"})", 404).held_by(gate)}});
  auto pass = client->forward_backward(batch(1), loss::kCrossEntropy);
  auto step = client->optim_step();
  auto saved = client->save_state("w");
  ASSERT_TRUE(wait_for_requests(2, "retrieve_future"));
  ASSERT_TRUE(wait_for_requests(1, "save_weights"));
  service->close();
  EXPECT_EQ(pass.get().error().code(), ErrorCode::kClosed) << pass.get().error().what();
  EXPECT_EQ(step.get().error().code(), ErrorCode::kClosed) << step.get().error().what();
  EXPECT_EQ(saved.get().error().code(), ErrorCode::kClosed) << saved.get().error().what();
}

}  // namespace
}  // namespace tinkex
