#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>

#include "tests/support/scripted_service.h"
#include "tinkex/training_client.h"

namespace tinkex {
namespace {

using mocks::LoggedRequest;
using mocks::Operation;
using mocks::Reply;
using mocks::TinkerScript;
using testing::answers_batch;
using testing::batch;
using ::testing::HasSubstr;
using Json = nlohmann::json;

/// The peculiarities of the open servers, one server at a time (docs/servers.md).
class OtherServersTest : public testing::ScriptedServiceTest {
 protected:
  void SetUp() override { connect_service(tinker.options()); }
  TrainingClient make_client() {
    auto created = service->create_lora_training_client("base", {.rank = 8}).get();
    if (!created.ok()) throw std::runtime_error(created.error().what());
    return *std::move(created);
  }
  /// What a deletion of this path asks for, below the training runs.
  std::string deletes(const std::string& path) {
    const std::string runs = TinkerScript::path("training_runs/");
    tinker.server().script("DELETE", runs, {Reply::json("", 204)});
    EXPECT_TRUE(service->delete_checkpoint(path).get().ok()) << path;
    return tinker.server().log(runs).back().target.substr(runs.size());
  }
  /// Everything that a client can ask for, once, with default arguments.
  void do_everything() {
    TrainingClient client = make_client();
    EXPECT_TRUE(answers_batch(client.forward(batch(1), loss::kCrossEntropy).get(), 1));
    EXPECT_TRUE(answers_batch(client.forward_backward(batch(1), loss::kCrossEntropy).get(), 1));
    EXPECT_TRUE(client.optim_step().get().ok());
    EXPECT_TRUE(client.save_state("w").get().ok());
    EXPECT_TRUE(client.load_state("tinker://model-1/weights/w").get().ok());
    EXPECT_TRUE(client.save_weights_for_sampler("s").get().ok());
    EXPECT_TRUE(client.save_weights_and_get_sampling_client().get().ok());
    auto sampler = service->create_sampling_client("base", std::nullopt).get().value();
    EXPECT_TRUE(
        sampler.sample(ModelInput::from_tokens(std::vector<std::int64_t>{1}), 1).get().ok());
    EXPECT_TRUE(service->get_supported_models().get().ok());
  }
};

/// Fields of the oldest schema that a server validates against: TuFT's, SDK 0.25.
const std::map<std::string, std::set<std::string>>& oldest_fields() {
  static const std::map<std::string, std::set<std::string>> fields{
      {"client/config", {"sdk_version"}},
      {"client/dynamic_config", {"sdk_version"}},
      {"create_session", {"tags", "user_metadata", "sdk_version", "project_id", "type"}},
      {"session_heartbeat", {"session_id", "type"}},
      {"create_model",
       {"session_id", "model_seq_id", "base_model", "user_metadata", "lora_config", "type"}},
      {"get_info", {"model_id", "type"}},
      {"forward_backward", {"model_id", "seq_id", "forward_backward_input"}},
      {"forward", {"model_id", "seq_id", "forward_input"}},
      {"optim_step", {"model_id", "seq_id", "adam_params", "type"}},
      {"save_weights", {"model_id", "seq_id", "path", "ttl_seconds", "type"}},
      {"load_weights",
       {"model_id", "seq_id", "session_id", "model_seq_id", "path", "optimizer", "type"}},
      {"save_weights_for_sampler",
       {"model_id", "seq_id", "path", "sampling_session_seq_id", "ttl_seconds", "type"}},
      {"create_sampling_session",
       {"session_id", "sampling_session_seq_id", "base_model", "model_path", "type"}},
      {"asample",
       {"sampling_session_id", "seq_id", "prompt", "num_samples", "sampling_params",
        "prompt_logprobs", "topk_prompt_logprobs", "type"}},
      {"retrieve_future", {"request_id", "allow_metadata_only"}},
      {"weights_info", {"tinker_path"}},
  };
  return fields;
}

TEST_F(OtherServersTest, AServerThatForbidsUnknownFieldsIsSentNone) {
  connect_service([this] {
    ClientOptions options = tinker.options();
    options.wire_format = WireFormat::kJson;  // so that every body can be looked at
    return options;
  }());
  do_everything();
  std::set<std::string> seen;
  for (const LoggedRequest& request : tinker.server().log("/api/v1/")) {
    const std::string endpoint = request.target.substr(TinkerScript::path("").size());
    if (request.method != "POST" || endpoint.starts_with("sessions/")) continue;
    ASSERT_TRUE(oldest_fields().contains(endpoint)) << endpoint;
    const std::set<std::string>& known = oldest_fields().at(endpoint);
    seen.insert(endpoint);
    const Json body = Json::parse(request.body);
    for (const auto& [name, value] : body.items()) {
      EXPECT_TRUE(known.contains(name)) << endpoint << " has " << name;
      EXPECT_FALSE(value.is_null()) << endpoint << ": " << name << " is null";
    }
  }
  EXPECT_GE(seen.size(), 12u);
}

// TuFT: 201 and 202 instead of 200, optim_step without metrics, failures as statuses of the poll.

TEST_F(OtherServersTest, Tuft_AcceptedIsAsGoodAsOk) {
  script("create_session", {Reply::json(R"({"session_id":"u-1"})", 201)});
  connect_service(tinker.options());
  TrainingClient client = make_client();
  tinker.plan("optim_step", {.lost = {Reply::json(R"({"request_id":"request-2"})", 202)},
                             .result = Reply::json(R"({"metrics":null})")});
  const auto stepped = client.optim_step().get();
  ASSERT_TRUE(stepped.ok()) << stepped.error().what();
  EXPECT_TRUE(stepped->metrics.empty());
}

TEST_F(OtherServersTest, Tuft_AFailureThatIsTheStatusOfThePollIsReportedOnceAndAtOnce) {
  TrainingClient client = make_client();
  for (const int status : {400, 403, 404, 409, 422}) {
    const std::size_t before = count("retrieve_future");
    tinker.plan("optim_step", {.result = Reply::json(R"({"detail":"Future failed: x"})", status)});
    const auto failed = client.optim_step().get();
    ASSERT_FALSE(failed.ok()) << status;
    EXPECT_EQ(failed.error().http_status(), status);
    EXPECT_THAT(failed.error().message(), HasSubstr("Future failed: x"));
    EXPECT_EQ(count("retrieve_future"), before + 1) << status;
  }
}

TEST_F(OtherServersTest, Tuft_AFailedOperationDoesNotMakeTheNextOneLoseItsPlace) {
  // It does not count an operation that failed, but takes the number after it.
  TrainingClient client = make_client();
  tinker.plan("forward_backward", {.result = Reply::json(R"({"detail":"no"})", 422)});
  EXPECT_FALSE(client.forward_backward(batch(1), loss::kCrossEntropy).get().ok());
  EXPECT_TRUE(client.optim_step().get().ok());
  EXPECT_EQ(tinker.operations("optim_step").front().seq_id, 2);
}

// hatchery: everything is JSON, samplers are made through a future, failures are 200s.

TEST_F(OtherServersTest, Hatchery_ASamplingSessionMayComeThroughAFuture) {
  script("create_sampling_session",
         {Reply::json(R"({"request_id":"fut_1","model_id":"mdl_1","status":"pending"})")});
  script("retrieve_future",
         {TinkerScript::try_again(),
          Reply::json(R"({"sampling_session_id":"samp-mdl_1-0","type":"request_completed"})")});
  const auto sampler = service->create_sampling_client("base", std::nullopt).get();
  ASSERT_TRUE(sampler.ok()) << sampler.error().what();
  EXPECT_EQ(sampler->session_id(), "samp-mdl_1-0");
}

TEST_F(OtherServersTest, Hatchery_AFailureInA200IsTold) {
  TrainingClient client = make_client();
  tinker.plan("optim_step", {.result = Reply::json(R"({"type":"request_failed",)"
                                                   R"("error":"no gradient",)"
                                                   R"("category":"user_error"})")});
  const auto failed = client.optim_step().get();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kRequestFailed);
  EXPECT_THAT(failed.error().message(), HasSubstr("no gradient"));
}

TEST_F(OtherServersTest, Hatchery_MetricNamesWithoutAReductionAndModelIdsAreUnderstood) {
  script("get_info", {Reply::json(R"({"model_id":"mdl_1"})")});
  TrainingClient client = make_client();
  EXPECT_EQ(client.info().model_name, "");
  tinker.plan("optim_step", {.result = Reply::json(R"({"type":"optim_step","metrics":)"
                                                   R"({"step":1,"learning_rate":0.5}})")});
  EXPECT_EQ(client.optim_step().get().value().metrics,
            (Metrics{{"step", 1}, {"learning_rate", 0.5}}));
}

TEST_F(OtherServersTest, Hatchery_ACheckpointIsDeletedByItsNameAlone) {
  EXPECT_EQ(deletes("tinker://mdl_1/checkpoints/w"), "mdl_1/checkpoints/w");
}

// SkyRL: sampler paths of two parts, no sequence ids of samples, no loss, failures as 400.

TEST_F(OtherServersTest, SkyRl_ASamplerPathOfTwoPartsIsPassedOnAsItIs) {
  TrainingClient client = make_client();
  tinker.plan("save_weights_for_sampler",
              {.result = Reply::json(R"({"path":"tinker://model_1/s","type":"x"})")});
  const auto saved = client.save_weights_for_sampler("s").get().value();
  ASSERT_EQ(saved.path, "tinker://model_1/s");
  EXPECT_TRUE(service->create_sampling_client(std::nullopt, saved.path).get().ok());
  EXPECT_EQ(Json::parse(requests("create_sampling_session").back().body).at("model_path"),
            "tinker://model_1/s");
}

TEST_F(OtherServersTest, SkyRl_ASamplerOfTwoPartsIsDeletedAmongTheSamplers) {
  EXPECT_EQ(deletes("tinker://model_1/s"), "model_1/checkpoints/sampler_weights/s");
  EXPECT_EQ(deletes("tinker://model_1/weights/w"), "model_1/checkpoints/weights/w");
}

TEST_F(OtherServersTest, SkyRl_NeitherSequenceIdsNorALossAreNeeded) {
  tinker.plan("asample", {.lost = {Reply::json(R"({"request_id":"request-1"})")}});
  auto sampler = service->create_sampling_client("base", std::nullopt).get().value();
  const auto prompt = ModelInput::from_tokens(std::vector<std::int64_t>{4, 5});
  const auto sampled = sampler.sample(prompt, 2).get();
  ASSERT_TRUE(sampled.ok()) << sampled.error().what();
  ASSERT_EQ(sampled->sequences.size(), 2u);
  EXPECT_EQ(sampled->sequences[0].sequence_id, "");
  EXPECT_EQ(sampled->sequences[0].tokens, (std::vector<std::int32_t>{4, 5}));

  TrainingClient client = make_client();
  tinker.plan("forward_backward",
              {.result = Reply::json(R"({"loss_fn_output_type":"scalar","loss_fn_outputs":[{)"
                                     R"("logprobs":{"data":[-1,-2],"dtype":"float32"}}],)"
                                     R"("metrics":{"skyrl.ai/x":1,"policy_lr:last":2}})")});
  const auto output = client.forward_backward(batch(1), loss::kCrossEntropy).get();
  ASSERT_TRUE(output.ok()) << output.error().what();
  EXPECT_EQ(output->loss_fn_outputs.size(), 1u);
  EXPECT_FALSE(output->metrics.contains("loss:sum"));
}

/// A server that gives every submission a future of its own, whatever its sequence id.
TEST_F(OtherServersTest, AServerThatIgnoresSequenceIdsStillGivesEachCallItsOwnResult) {
  TrainingClient client = make_client();
  int made = 0;
  tinker.server().handle("POST", TinkerScript::path("save_weights"), [&made](const LoggedRequest&) {
    if (++made == 1) return Reply::hang_up();
    return Reply::json(R"({"request_id":"save-)" + std::to_string(made) + "\"}");
  });
  tinker.server().script("POST", TinkerScript::path("retrieve_future"),
                         {Reply::json(R"({"path":"tinker://m/weights/a"})"),
                          Reply::json(R"({"path":"tinker://m/weights/b"})")});
  EXPECT_EQ(client.save_state("a").get().value().path, "tinker://m/weights/a");
  EXPECT_EQ(client.save_state("b").get().value().path, "tinker://m/weights/b");
  const auto sent = requests("save_weights");
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_EQ(sent[0].body, sent[1].body);
  EXPECT_EQ(Json::parse(sent[2].body).at("seq_id"), 2);
}

}  // namespace
}  // namespace tinkex
