// Sampling sessions and samples.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "tests/torch_ext/local/test_backend.h"
#include "tinkex/wire/codec.h"

namespace tinkex::torch_ext::local {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

class SamplingApiTest : public ::testing::Test {
 protected:
  void train(const std::string& model, int& seq) {
    for (int i = 0; i < 3; ++i) {
      api_.run("forward_backward", backward_body(model, ++seq));
      api_.run("optim_step", step_body(model, ++seq));
    }
  }
  std::string snapshot(const std::string& model, int seq_id, int number) {
    const Json saved = api_.run("save_weights_for_sampler", {{"model_id", model},
                                                             {"seq_id", seq_id},
                                                             {"sampling_session_seq_id", number},
                                                             {"kind", "snapshot"}});
    EXPECT_TRUE(saved["path"].is_null());
    return saved.at("sampling_session_id");
  }
  /// What a session says about the prompt, whichever request it was.
  Json logprobs(const std::string& sampler, int seq_id) {
    return api_.run("asample", sample_body(sampler, seq_id)).at("prompt_logprobs");
  }

  TestBackend api_;
  const std::string session_ = api_.session();
};

TEST_F(SamplingApiTest, SequenceIdsAreGivenAtOnceAndComeBackInOrder) {
  const std::string sampler = api_.sampler(session_, 0, {{"base_model", kNano}});
  EXPECT_EQ(sampler, session_ + ":sample:0");
  const Json accepted = api_.post("asample", sample_body(sampler, 1));
  ASSERT_EQ(accepted["sample_sequence_ids"].size(), 2u);
  const Json result = api_.result(accepted["request_id"]);
  ASSERT_EQ(result["sequences"].size(), 2u);
  EXPECT_NE(accepted["sample_sequence_ids"][0], accepted["sample_sequence_ids"][1]);
  for (const Json& sequence : result["sequences"]) {
    EXPECT_EQ(sequence["tokens"].size(), 4u);
    EXPECT_EQ(sequence["logprobs"].size(), 4u);
    EXPECT_EQ(sequence["stop_reason"], "length");
  }
  ASSERT_EQ(result["prompt_logprobs"].size(), 3u);
  EXPECT_TRUE(result["prompt_logprobs"][0].is_null());
  EXPECT_LT(result["prompt_logprobs"][1].get<double>(), 0);
}

TEST_F(SamplingApiTest, ASampleThatIsCalledOffEndsAndTheNextOneIsServed) {
  const std::string sampler = api_.sampler(session_, 0, {{"base_model", kNano}});
  Json much = sample_body(sampler, 1);
  much["num_samples"] = 4096;
  much["sampling_params"]["max_tokens"] = 100;
  const Json accepted = api_.post("asample", much);
  const Json waiting = api_.post("asample", sample_body(sampler, 2));
  api_.post("cancel_future", {{"request_id", accepted["request_id"]}});
  const Json result = api_.result(accepted["request_id"]);
  ASSERT_TRUE(result.contains("error")) << "it was computed to its end";
  EXPECT_THAT(result["error"].get<std::string>(), HasSubstr("cancelled"));
  EXPECT_EQ(result["category"], "user");
  EXPECT_EQ(api_.result(waiting["request_id"])["sequences"].size(), 2u);
  api_.post("cancel_future", {{"request_id", waiting["request_id"]}});  // Over: nothing changes.
  EXPECT_EQ(api_.result(waiting["request_id"])["sequences"].size(), 2u);
  api_.post("cancel_future", {{"request_id", "unknown"}});
}

TEST_F(SamplingApiTest, AStepThatIsCalledOffIsMade) {
  const std::string model = api_.model(session_);
  const Json accepted = api_.post("forward_backward", backward_body(model, 1));
  api_.post("cancel_future", {{"request_id", accepted["request_id"]}});
  EXPECT_TRUE(api_.result(accepted["request_id"]).contains("loss_fn_outputs"));
}

TEST_F(SamplingApiTest, ProtobufResultCarriesTheSequenceIds) {
  const std::string sampler = api_.sampler(session_, 0, {{"base_model", kNano}});
  const Json accepted = api_.post("asample", sample_body(sampler, 1));
  const std::string id = accepted["request_id"];
  const Json as_json = api_.result(id);
  const Reply reply = api_.call("POST", "retrieve_future", Json({{"request_id", id}}).dump(),
                                {{"accept", "application/x-protobuf"}});
  const auto response = wire::proto_codec().decode_sample_response(reply.body);
  ASSERT_TRUE(response) << response.error().what();
  ASSERT_EQ(response->sequences.size(), 2u);
  EXPECT_EQ(Json(response->sequences[0].tokens), as_json["sequences"][0]["tokens"]);
  EXPECT_TRUE(std::isnan(response->prompt_logprobs.at(0)));
}

TEST_F(SamplingApiTest, RepeatedSampleIsTheSameRequest) {
  const std::string sampler = api_.sampler(session_, 0, {{"base_model", kNano}});
  const Json first = api_.post("asample", sample_body(sampler, 1));
  EXPECT_EQ(api_.post("asample", sample_body(sampler, 1)), first);
  EXPECT_NE(api_.post("asample", sample_body(sampler, 2))["request_id"], first["request_id"]);
  Json other = sample_body(sampler, 1);
  other["num_samples"] = 1;
  EXPECT_NE(api_.post("asample", other)["request_id"], first["request_id"]);
  Json unnumbered = sample_body(sampler, 1);
  unnumbered.erase("seq_id");
  EXPECT_NE(api_.post("asample", unnumbered)["request_id"],
            api_.post("asample", unnumbered)["request_id"]);
}

TEST_F(SamplingApiTest, SeqIdsBeyondTwoTo53StayApart) {
  const std::string sampler = api_.sampler(session_, 0, {{"base_model", kNano}});
  Json body = sample_body(sampler, 0);
  body["seq_id"] = 1'000'000'000'000'000'000;
  const Json first = api_.post("asample", body);
  body["seq_id"] = 1'000'000'000'000'000'001;
  EXPECT_NE(api_.post("asample", body)["request_id"], first["request_id"]);
}

TEST_F(SamplingApiTest, SnapshotStaysWhileTrainingGoesOn) {
  const std::string model = api_.model(session_);
  int seq = 0;
  train(model, seq);
  const std::string early = snapshot(model, ++seq, 0);
  const Json before = logprobs(early, 1);
  train(model, seq);
  const std::string late = snapshot(model, ++seq, 1);
  EXPECT_EQ(logprobs(early, 2), before);
  EXPECT_NE(logprobs(late, 1), before);
}

TEST_F(SamplingApiTest, SnapshotHoldsTheStepsBeforeItAndNoLaterOne) {
  const std::string model = api_.model(session_);
  const std::string request =
      api_.post("save_weights_for_sampler", {{"model_id", model}, {"seq_id", 3}}).at("request_id");
  api_.post("optim_step", step_body(model, 4));
  api_.post("optim_step", step_body(model, 2));
  api_.post("forward_backward", backward_body(model, 1));
  const std::string sampler = api_.result(request).at("sampling_session_id");
  const std::string twin = api_.model(session_, 1);
  api_.run("forward_backward", backward_body(twin, 1));
  api_.run("optim_step", step_body(twin, 2));
  EXPECT_EQ(logprobs(sampler, 1), logprobs(snapshot(twin, 3, 5), 1));
}

TEST_F(SamplingApiTest, SavedWeightsAreSampledUnderTheirPath) {
  const std::string model = api_.model(session_);
  int seq = 0;
  train(model, seq);
  const std::string live = snapshot(model, ++seq, 0);
  const Json saved = api_.run("save_weights_for_sampler",
                              {{"model_id", model}, {"seq_id", ++seq}, {"path", "final"}});
  const Json weights = {{"model_path", saved["path"]}};
  const std::string sampler = api_.sampler(session_, 1, weights);
  EXPECT_EQ(logprobs(sampler, 1), logprobs(live, 1));
  const Json described = api_.get("samplers/" + sampler);
  EXPECT_EQ(described["base_model"], kNano);
  EXPECT_EQ(described["model_path"], saved["path"]);
  EXPECT_EQ(api_.get("samplers/" + session_ + "%3Asample%3A1"), described);
  // The session keeps its weights though the name gets others.
  train(model, seq);
  api_.run("save_weights_for_sampler",
           {{"model_id", model}, {"seq_id", ++seq}, {"path", "final"}, {"overwrite", true}});
  EXPECT_EQ(logprobs(sampler, 2), logprobs(live, 2));
}

TEST_F(SamplingApiTest, WeightsCanBeNamedInTheSampleItself) {
  const std::string sampler = api_.sampler(session_, 0, {{"base_model", kNano}});
  Json direct = sample_body("", 1);
  direct.erase("sampling_session_id");
  EXPECT_EQ(api_.refusal("asample", direct).first, 422);
  direct["base_model"] = kNano;
  EXPECT_EQ(api_.run("asample", direct)["prompt_logprobs"], logprobs(sampler, 1));
  direct["base_model"] = nullptr;
  direct["model_path"] = "tinker://r/weights/x";
  EXPECT_THAT(api_.run("asample", direct)["error"], HasSubstr("no checkpoint"));
}

TEST_F(SamplingApiTest, RepeatedSessionIsTheSameAndAnotherUnderItsNumberIsAConflict) {
  const std::string first = api_.sampler(session_, 0, {{"base_model", kNano}});
  EXPECT_EQ(api_.sampler(session_, 0, {{"base_model", kNano}}), first);
  const auto [status, detail] = api_.refusal(
      "create_sampling_session",
      {{"session_id", session_}, {"sampling_session_seq_id", 0}, {"base_model", "tinkex/tiny"}});
  EXPECT_EQ(status, 409);
  EXPECT_THAT(detail, HasSubstr("sampling_session_seq_id 0"));
  const std::string other = api_.sampler(session_, 1, {{"base_model", "tinkex/tiny"}});
  EXPECT_EQ(api_.get("samplers/" + other)["base_model"], "tinkex/tiny");
}

TEST_F(SamplingApiTest, ConflictThatCouldNotBeLoadedLeavesTheFirstSessionRepeatable) {
  const std::string first = api_.sampler(session_, 0, {{"base_model", kNano}});
  api_.refusal("create_sampling_session", {{"session_id", session_},
                                           {"sampling_session_seq_id", 0},
                                           {"model_path", "tinker://r/sampler_weights/x"}});
  EXPECT_EQ(api_.sampler(session_, 0, {{"base_model", kNano}}), first);
}

TEST_F(SamplingApiTest, SessionOnNothingIsRefused) {
  const Json numbered = {{"session_id", session_}, {"sampling_session_seq_id", 0}};
  EXPECT_EQ(api_.refusal("create_sampling_session", numbered).first, 422);
  Json missing = numbered;
  missing["model_path"] = "tinker://r/sampler_weights/x";
  EXPECT_EQ(api_.refusal("create_sampling_session", missing).first, 404);
  EXPECT_EQ(api_.refusal("create_sampling_session", missing).first, 404);
  missing["model_path"] = "/etc/passwd";
  EXPECT_EQ(api_.refusal("create_sampling_session", missing).first, 422);
  EXPECT_FALSE(api_.sampler(session_, 0, {{"base_model", kNano}}).empty());
}

TEST_F(SamplingApiTest, ImpossibleSamplesAreRefusedOrFailAsTheUsersMistake) {
  const std::string sampler = api_.sampler(session_, 0, {{"base_model", kNano}});
  const auto with = [&](const char* pointer, const Json& value) {
    Json body = sample_body(sampler, 1);
    body.erase("seq_id");
    body[Json::json_pointer(pointer)] = value;
    return body;
  };
  for (const Json& body :
       {with("/num_samples", 0), with("/num_samples", 1'000'000'000), with("/num_samples", "two"),
        with("/prompt", nullptr), with("/prompt/chunks/0/tokens/0", "a"),
        with("/prompt/chunks/0/tokens/0", 1.5), with("/prompt/chunks/0/type", "image"),
        with("/sampling_params/stop", Json::array({Json::object()})),
        with("/sampling_params/max_tokens", "many"), with("/topk_sample_logprobs", 2)}) {
    EXPECT_EQ(api_.refusal("asample", body).first, 422) << body;
  }
  for (const Json& body :
       {with("/prompt/chunks/0/tokens/0", 100'000), with("/prompt/chunks/0/tokens/0", -1),
        with("/prompt/chunks/0/tokens", Json::array()), with("/sampling_params/max_tokens", 0),
        with("/sampling_params/temperature", -1.0), with("/sampling_params/top_p", 2.0),
        with("/prompt/chunks/0/tokens", std::vector<int>(100'000, 1))}) {
    const Json failed = api_.run("asample", body);
    EXPECT_EQ(failed.value("category", ""), "user") << failed.dump().substr(0, 300);
  }
}

TEST(SamplingLimitTest, TheSessionUnusedForLongestGoesFirst) {
  BackendOptions options;
  options.max_sampling_sessions = 2;
  TestBackend api(options);
  const std::string session = api.session();
  const std::string first = api.sampler(session, 0, {{"base_model", kNano}});
  const std::string second = api.sampler(session, 1, {{"base_model", kNano}});
  api.run("asample", sample_body(first, 1));
  api.sampler(session, 2, {{"base_model", kNano}});
  EXPECT_EQ(api.refusal("asample", sample_body(second, 1)).first, 404);
  EXPECT_TRUE(api.run("asample", sample_body(first, 2)).contains("sequences"));
}

TEST(SamplingLimitTest, TooManyWaitingSamplesGet429) {
  BackendOptions options;
  options.max_queued_samples = 0;
  TestBackend api(options);
  const std::string sampler = api.sampler(api.session(), 0, {{"base_model", kNano}});
  EXPECT_EQ(api.refusal("asample", sample_body(sampler, 1)).first, 429);
}

TEST(SamplingShutdownTest, RunningSampleIsCutShort) {
  TestBackend api;
  const std::string sampler = api.sampler(api.session(), 0, {{"base_model", kNano}});
  Json body = sample_body(sampler, 1);
  body["num_samples"] = 1024;
  body["sampling_params"] = {{"temperature", 1.0}, {"stop", Json::array()}};
  const std::string id = api.post("asample", body).at("request_id");
  std::string answer;
  const std::string poll = Json({{"request_id", id}}).dump();
  api.backend().handle({"POST", "/api/v1/retrieve_future",
                        [](std::string_view) { return std::string_view(); }, poll},
                       [&](Reply reply) { answer = reply.body; });
  api.backend().shutdown();
  EXPECT_EQ(Json::parse(answer)["category"], "server");
}

}  // namespace
}  // namespace tinkex::torch_ext::local
