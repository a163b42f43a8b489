#include "tinkex/mocks/tinker_script.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tests/tinkex/http/exchange.h"
#include "tinkex/http/io_thread.h"

namespace tinkex::mocks {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsNan;

constexpr milliseconds kPatience{10'000};

class TinkerScriptTest : public ::testing::Test {
 protected:
  HttpResponse call(std::string_view endpoint, std::string_view body, HttpHeaders headers = {}) {
    return begin(endpoint, body, std::move(headers)).get().value();
  }
  std::future<Result<HttpResponse>> begin(std::string_view endpoint, std::string_view body,
                                          HttpHeaders headers = {}) {
    return http::start(*io_, http::post(script_.base_url() + TinkerScript::path(endpoint), body,
                                        std::move(headers)));
  }
  std::string submit(std::string_view endpoint, std::string_view body) {
    return Json::parse(call(endpoint, body).body).at("request_id");
  }
  HttpResponse poll(const std::string& id, HttpHeaders headers = {}) {
    return call("retrieve_future", Json{{"request_id", id}}.dump(), std::move(headers));
  }
  /// The result of a sample for the prompt 7 8 9 whose request has these members.
  SampleResponse sample(const std::string& members, const wire::Codec& codec = wire::json_codec()) {
    const std::string id = submit("asample", R"({"sampling_session_id":"s",)" + members +
                                                 R"(,"prompt":{"chunks":[{"tokens":[7,8,9]}]}})");
    return codec
        .decode_sample_response(poll(id, {{"Accept", std::string(codec.content_type())}}).body)
        .value();
  }
  HttpResponse send_batch(const wire::Codec& codec, std::int64_t seq_id, bool forward_only,
                          std::vector<std::vector<std::int64_t>> targets) {
    std::vector<Datum> data;
    for (auto& target : targets) {
      Datum datum;
      datum.model_input = ModelInput::from_tokens(target);
      datum.loss_fn_inputs.emplace_back("target_tokens", TensorData::from(target));
      data.push_back(std::move(datum));
    }
    ByteBuffer body;
    const LossConfig config;
    EXPECT_TRUE(codec
                    .encode_request({.model_id = "m",
                                     .data = data,
                                     .loss_fn = "cross_entropy",
                                     .loss_fn_config = config,
                                     .forward_only = forward_only},
                                    body)
                    .ok());
    codec.append_seq_id(seq_id, body);
    return call(codec.path(forward_only), body.view(),
                {{"Content-Type", std::string(codec.content_type())}});
  }

  TinkerScript script_;
  std::shared_ptr<internal::IoThread> io_ =
      internal::IoThread::start(std::make_shared<SteadyClock>()).value();
};

TEST_F(TinkerScriptTest, TheCallsWithoutAFutureAnswer) {
  EXPECT_EQ(call("client/config", "{}").status, 200);
  EXPECT_EQ(call("client/dynamic_config", "{}").status, 404);
  EXPECT_THAT(call("create_session", "{}").body, HasSubstr("\"session_id\":\"session-1\""));
  EXPECT_EQ(call("session_heartbeat", "{}").status, 200);
  EXPECT_THAT(call("get_info", "{\"model_id\":\"m\"}").body, HasSubstr("\"model_id\":\"m\""));
  const auto first = call("create_sampling_session", "{}").body;
  EXPECT_NE(first, call("create_sampling_session", "{}").body);
}

// Spec X1.
TEST_F(TinkerScriptTest, X1_BatchesAreDecodedInBothFormatsAndAnsweredInTheOneAccepted) {
  for (const wire::Codec* codec : {&wire::json_codec(), &wire::proto_codec()}) {
    const std::int64_t seq_id = codec == &wire::json_codec() ? 1 : 2;
    const auto reply = send_batch(*codec, seq_id, false, {{1, 2}, {5}});
    ASSERT_EQ(reply.status, 200) << reply.body;
    const HttpResponse result = poll(Json::parse(reply.body).at("request_id"),
                                     {{"Accept", std::string(codec->content_type())}});
    EXPECT_EQ(result.header("content-type"), codec->content_type());
    const ForwardBackwardOutput output = codec->decode_output(result.body).value();
    ASSERT_EQ(output.loss_fn_outputs.size(), 2u);
    EXPECT_THAT(find(output.loss_fn_outputs[0], "logprobs")->to_floats(), ElementsAre(-1, -2));
    EXPECT_EQ(output.metrics.at("loss:sum"), 8.0);
    EXPECT_EQ(script_.operations("forward_backward").back().seq_id, seq_id);
    EXPECT_EQ(script_.operations("forward_backward").back().examples(), 2u);
  }
}

TEST_F(TinkerScriptTest, ForwardIsAnOperationOfItsOwnInBothFormats) {
  send_batch(wire::json_codec(), 1, true, {{1}});
  send_batch(wire::proto_codec(), 2, true, {{1}});
  EXPECT_EQ(script_.operations("forward").size(), 2u);
  EXPECT_EQ(script_.operations("forward_backward").size(), 0u);
}

TEST_F(TinkerScriptTest, ResultsOfTheSmallOperationsFollowFromTheirRequests) {
  const auto result = [&](std::string_view endpoint, std::string_view body) {
    return Json::parse(poll(submit(endpoint, body)).body);
  };
  EXPECT_EQ(result("create_model", R"({"session_id":"s","model_seq_id":0})").at("model_id"),
            "model-1");
  EXPECT_EQ(
      result("optim_step", R"({"model_id":"m","seq_id":1,"adam_params":{"learning_rate":0.5}})")
          .at("metrics")
          .at("learning_rate"),
      0.5);
  EXPECT_EQ(result("save_weights", R"({"model_id":"m","seq_id":2,"path":"a"})").at("path"),
            "tinker://m/weights/a");
  EXPECT_EQ(
      result("save_weights_for_sampler", R"({"model_id":"m","seq_id":3,"path":"a"})").at("path"),
      "tinker://m/sampler_weights/a");
  EXPECT_TRUE(result("save_weights_for_sampler",
                     R"({"model_id":"m","seq_id":4,"sampling_session_seq_id":0})")
                  .at("sampling_session_id")
                  .is_string());
  EXPECT_EQ(result("load_weights", R"({"model_id":"m","seq_id":5,"path":"p"})").at("path"), "p");
}

// Spec S5.
TEST_F(TinkerScriptTest, S5_ASampleRepeatsItsPrompt) {
  const auto reply = call("asample", R"({"sampling_session_id":"s","seq_id":1,"num_samples":2,
      "prompt":{"chunks":[{"type":"encoded_text","tokens":[7,8,9]}]},
      "sampling_params":{"max_tokens":2}})");
  const Json accepted = Json::parse(reply.body);
  EXPECT_EQ(accepted.at("sample_sequence_ids").size(), 2u);
  const auto response =
      wire::json_codec().decode_sample_response(poll(accepted.at("request_id")).body).value();
  ASSERT_EQ(response.sequences.size(), 2u);
  EXPECT_THAT(response.sequences[1].tokens, ElementsAre(7, 8));
  EXPECT_THAT(response.sequences[1].logprobs, ElementsAre(-7, -8));
  EXPECT_TRUE(response.prompt_logprobs.empty());
}

TEST_F(TinkerScriptTest, ASampleStopsWhereItsPromptEndsUnlessTokensRunOutFirst) {
  EXPECT_EQ(sample(R"("sampling_params":{})").sequences[0].stop_reason, StopReason::kStop);
  for (const std::string most : {"2", "3", "4"}) {
    const auto sequence = sample(R"("sampling_params":{"max_tokens":)" + most + "}").sequences[0];
    EXPECT_EQ(sequence.stop_reason, most == "4" ? StopReason::kStop : StopReason::kLength) << most;
  }
}

TEST_F(TinkerScriptTest, PromptLogprobsComeWhenAskedForInBothFormats) {
  for (const char* wish : {R"("prompt_logprobs":true)", R"("topk_prompt_logprobs":2)"}) {
    for (const wire::Codec* codec : {&wire::json_codec(), &wire::proto_codec()}) {
      const auto response = sample(std::string(wish) + R"(,"sampling_params":{})", *codec);
      EXPECT_THAT(response.prompt_logprobs, ElementsAre(IsNan(), -8, -9)) << wish;
    }
  }
}

TEST_F(TinkerScriptTest, GetInfoTellsWhatAModelWasCreatedWith) {
  submit("create_model", R"({"session_id":"s","model_seq_id":0,"base_model":"small",
      "lora_config":{"rank":4}})");
  submit("create_model", R"({"session_id":"s","model_seq_id":1,"base_model":"large",
      "lora_config":{"rank":16}})");
  const Json info = Json::parse(call("get_info", R"({"model_id":"model-2"})").body);
  EXPECT_EQ(info.at("model_data").at("model_name"), "large");
  EXPECT_EQ(info.at("lora_rank"), 16);
}

TEST_F(TinkerScriptTest, OptionsLeadAClientHereAndMakeItRepeatSoon) {
  const ClientOptions options = script_.options();
  EXPECT_EQ(options.base_url, script_.base_url());
  EXPECT_LE(options.retry.initial_backoff, milliseconds(5));
  EXPECT_EQ(options.retry.max_attempts, 8);
}

constexpr std::string_view kStep =
    R"({"model_id":"m","seq_id":1,"adam_params":{"learning_rate":1}})";

TEST_F(TinkerScriptTest, ARepeatGetsTheFirstAnswerAndIsNoNewOperation) {
  EXPECT_EQ(submit("optim_step", kStep), submit("optim_step", kStep));
  ASSERT_EQ(script_.operations().size(), 1u);
  EXPECT_EQ(script_.operations()[0].submissions, 2);
}

// Spec C3.
TEST_F(TinkerScriptTest, C3_RefusedSubmissionsAreNotOperationsAndTheirIdsMayReturn) {
  script_.plan("optim_step", {.refusals = {Reply::json("{}", 500)}});
  EXPECT_EQ(call("optim_step", kStep).status, 500);
  EXPECT_TRUE(script_.operations().empty());
  submit("save_weights", R"({"model_id":"m","seq_id":1,"path":"other"})");
  EXPECT_EQ(script_.operations()[0].kind, "save_weights");
}

TEST_F(TinkerScriptTest, PlansScriptPollsHoldResultsAndReplaceThem) {
  const auto gate = std::make_shared<Gate>();
  script_.plan("optim_step", {.polls = {TinkerScript::try_again(), Reply::json("{}", 503)},
                              .result_gate = gate,
                              .result = TinkerScript::failed("no", "user")});
  const std::string id = submit("optim_step", kStep);
  EXPECT_THAT(poll(id).body, HasSubstr("try_again"));
  EXPECT_EQ(poll(id).status, 503);
  auto held = begin("retrieve_future", Json{{"request_id", id}}.dump());
  ASSERT_TRUE(
      script_.server().wait_for_requests(3, kPatience, TinkerScript::path("retrieve_future")));
  EXPECT_EQ(script_.server().log(TinkerScript::path("retrieve_future"))[2].replied.order, 0u);
  gate->open();
  EXPECT_THAT(held.get().value().body, HasSubstr("\"category\":\"user\""));
  EXPECT_EQ(script_.operations()[0].polls, 3);
}

TEST_F(TinkerScriptTest, ALostAnswerLeavesTheOperationCarriedOut) {
  script_.plan("optim_step",
               {.refusals = {Reply::json("{}", 503)}, .lost = {Reply::json("{}", 500)}});
  EXPECT_EQ(call("optim_step", kStep).status, 503);
  EXPECT_TRUE(script_.operations().empty());
  EXPECT_EQ(call("optim_step", kStep).status, 500);
  ASSERT_EQ(script_.operations().size(), 1u);
  EXPECT_EQ(submit("optim_step", kStep), script_.operations()[0].request_id);
  EXPECT_EQ(script_.operations()[0].submissions, 3);
}

TEST_F(TinkerScriptTest, PlansMayBeMadeForEachOperationUnlessOneWaits) {
  script_.plan_each([](const Operation& operation) {
    return OperationPlan{.result = Reply::json("{\"n\":" + std::to_string(operation.seq_id) + "}")};
  });
  script_.plan("optim_step", {.result = Reply::json("{\"n\":0}")});
  EXPECT_EQ(poll(submit("optim_step", kStep)).body, "{\"n\":0}");
  EXPECT_EQ(poll(submit("save_weights", R"({"model_id":"m","seq_id":2,"path":"a"})")).body,
            "{\"n\":2}");
}

// Spec X2.
TEST_F(TinkerScriptTest, X2_ResultsComeInTheOrderThatTheTestNames) {
  script_.reorder("optim_step", {2, 0, 1});
  std::vector<std::string> ids;
  for (const char* seq : {"1", "2", "3"}) {
    ids.push_back(submit(
        "optim_step",
        R"({"model_id":"m","adam_params":{"learning_rate":1},"seq_id":)" + std::string(seq) + "}"));
  }
  std::vector<std::future<Result<HttpResponse>>> results;
  for (const std::string& id : ids) {
    results.push_back(begin("retrieve_future", Json{{"request_id", id}}.dump()));
  }
  for (auto& result : results) EXPECT_EQ(result.get().value().status, 200);
  std::vector<std::string> answered(3);
  auto polls = script_.server().log(TinkerScript::path("retrieve_future"));
  std::sort(polls.begin(), polls.end(),
            [](const auto& a, const auto& b) { return a.replied.order < b.replied.order; });
  for (std::size_t i = 0; i < 3; ++i) answered[i] = Json::parse(polls[i].body).at("request_id");
  EXPECT_THAT(answered, ElementsAre(ids[2], ids[0], ids[1]));
}

TEST_F(TinkerScriptTest, NotYetMayNameAPause) {
  EXPECT_FALSE(Json::parse(TinkerScript::try_again().body).contains("retry_after_ms"));
  const Json paused = Json::parse(TinkerScript::try_again("paused", milliseconds(7)).body);
  EXPECT_EQ(paused.at("queue_state"), "paused");
  EXPECT_EQ(paused.at("retry_after_ms"), 7);
}

// Spec T14.
TEST_F(TinkerScriptTest, T14_AnImmediateOperationAnswersItsSubmissionWithTheResult) {
  script_.plan("optim_step", {.immediate = true});
  EXPECT_THAT(call("optim_step", kStep).body, HasSubstr("learning_rate"));
}

TEST_F(TinkerScriptTest, ResultsCanBeComputedByTheTest) {
  script_.set_result("optim_step", [](const Operation& operation, std::string_view) {
    return Reply::json("{\"n\":" + std::to_string(operation.seq_id) + "}");
  });
  EXPECT_EQ(poll(submit("optim_step", kStep)).body, "{\"n\":1}");
}

TEST_F(TinkerScriptTest, NonsenseIsRefused) {
  EXPECT_EQ(call("optim_step", "nonsense").status, 422);
  EXPECT_EQ(call("optim_step", "{}").status, 422);
  EXPECT_EQ(call("forward_backward", "nonsense").status, 422);
  EXPECT_EQ(poll("unknown").status, 404);
}

}  // namespace
}  // namespace tinkex::mocks
