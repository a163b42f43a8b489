// Models and their operations: order, repeats, failures, both encodings.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <thread>
#include <utility>

#include "tests/torch_ext/local/test_backend.h"
#include "tinkex/wire/codec.h"

namespace tinkex::torch_ext::local {
namespace {

using Json = nlohmann::json;
using std::chrono::milliseconds;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class TrainingApiTest : public ::testing::Test {
 protected:
  std::string submit(const char* path, const Json& body) {
    return api_.post(path, body).at("request_id");
  }
  double loss(const Json& output) { return output.at("metrics").at("loss:sum"); }

  TestBackend api_;
  const std::string session_ = api_.session();
  const std::string model_ = api_.model(session_);
};

TEST_F(TrainingApiTest, ModelIdIsDerivedFromTheSession) {
  EXPECT_EQ(model_, session_ + ":train:0");
  const Json info = api_.post("get_info", {{"model_id", model_}});
  EXPECT_EQ(info["model_data"]["model_name"], kNano);
  EXPECT_EQ(info["model_data"]["tokenizer_id"], "tinkex/bytes");
  EXPECT_EQ(info["lora_rank"], 4);
}

TEST_F(TrainingApiTest, InfoAskedTooEarlyWaitsForTheCreation) {
  const Json accepted = api_.post("create_model", {{"session_id", session_},
                                                   {"model_seq_id", 5},
                                                   {"base_model", kNano},
                                                   {"user_metadata", nullptr},
                                                   {"lora_config", {{"rank", 2}}}});
  EXPECT_EQ(accepted["model_id"], session_ + ":train:5");
  EXPECT_EQ(api_.post("get_info", {{"model_id", session_ + ":train:5"}})["lora_rank"], 2);
}

TEST_F(TrainingApiTest, RepeatedCreationIsTheSameModel) {
  const Json body = {{"session_id", session_}, {"model_seq_id", 1}, {"base_model", kNano}};
  const Json first = api_.post("create_model", body);
  EXPECT_EQ(api_.post("create_model", body), first);
  Json other = body;
  other["lora_config"] = {{"rank", 8}};
  EXPECT_EQ(api_.refusal("create_model", other).first, 409);
}

TEST_F(TrainingApiTest, ImpossibleModelsAreRefused) {
  Json body = {{"session_id", session_}, {"model_seq_id", 1}, {"base_model", "no/model"}};
  const auto [status, detail] = api_.refusal("create_model", body);
  EXPECT_EQ(status, 404);
  EXPECT_THAT(detail, HasSubstr(kNano));
  body["base_model"] = kNano;
  body["lora_config"] = {{"rank", 0}};
  const Json failed = api_.run("create_model", body);
  EXPECT_THAT(failed["error"], HasSubstr("rank"));
  EXPECT_EQ(failed["category"], "user");
  EXPECT_EQ(api_.refusal("get_info", {{"model_id", session_ + ":train:1"}}).first, 404);
  body["optimizer_config"] = {{"type", "dimuon"}};
  EXPECT_EQ(api_.refusal("create_model", body).first, 422);
}

TEST(ModelLimitTest, OneModelTooManyIsRefusedWithText) {
  BackendOptions options;
  options.max_models = 1;
  TestBackend api(options);
  const std::string session = api.session();
  api.model(session);
  const auto [status, detail] = api.refusal(
      "create_model", {{"session_id", session}, {"model_seq_id", 1}, {"base_model", kNano}});
  EXPECT_EQ(status, 400);
  EXPECT_THAT(detail, HasSubstr("unload"));
}

TEST_F(TrainingApiTest, TrainingLowersTheLoss) {
  int seq = 0;
  double first = 0;
  double last = 0;
  for (int step = 0; step < 15; ++step) {
    last = loss(api_.run("forward_backward", backward_body(model_, ++seq)));
    if (step == 0) first = last;
    const Json stepped = api_.run("optim_step", step_body(model_, ++seq));
    EXPECT_EQ(stepped["type"], "optim_step");
    EXPECT_GT(stepped["metrics"]["grad_norm"].get<double>(), 0);
  }
  EXPECT_LT(last, first / 2);
}

TEST_F(TrainingApiTest, StepPostedFirstWaitsForTheBatchBeforeIt) {
  const std::string step = submit("optim_step", step_body(model_, 3));
  const std::string second = submit("forward_backward", backward_body(model_, 2));
  const std::string first = submit("forward_backward", backward_body(model_, 1));
  EXPECT_EQ(api_.result(step)["metrics"]["step"], 1);
  EXPECT_EQ(loss(api_.result(first)), loss(api_.result(second)));
}

TEST_F(TrainingApiTest, RequestsWithoutSeqIdRunAsTheyCome) {
  Json batch = backward_body(model_, 0);
  batch.erase("seq_id");
  Json step = step_body(model_, 0);
  step.erase("seq_id");
  for (int i = 1; i <= 2; ++i) {
    submit("forward_backward", batch);
    EXPECT_EQ(api_.run("optim_step", step)["metrics"]["step"], i);
  }
}

TEST_F(TrainingApiTest, RepeatedBatchCountsOnce) {
  const std::string once = api_.model(session_, 1);
  const std::string first = submit("forward_backward", backward_body(model_, 1));
  EXPECT_EQ(submit("forward_backward", backward_body(model_, 1)), first);
  submit("forward_backward", backward_body(once, 1));
  const Json twice_sent = api_.run("optim_step", step_body(model_, 2));
  const Json once_sent = api_.run("optim_step", step_body(once, 2));
  EXPECT_EQ(twice_sent["metrics"]["grad_norm"], once_sent["metrics"]["grad_norm"]);
  EXPECT_EQ(submit("forward_backward", backward_body(model_, 1)), first);
  const auto [status, detail] = api_.refusal("optim_step", step_body(model_, 1));
  EXPECT_EQ(status, 409);
  EXPECT_THAT(detail, HasSubstr("seq_id 1"));
}

TEST_F(TrainingApiTest, FailedBatchFailsItsStepAndNothingLater) {
  submit("forward_backward", backward_body(model_, 1));
  const Json bad = api_.run("forward_backward",
                            backward_body(model_, 2, {count_datum(1, 4), count_datum(5000, 4)}));
  EXPECT_EQ(bad["category"], "user");
  EXPECT_THAT(bad["error"], HasSubstr("1"));
  const Json step = api_.run("optim_step", step_body(model_, 3));
  EXPECT_THAT(step["error"], HasSubstr("seq_id 2"));
  EXPECT_EQ(step["category"], "user");
  submit("forward_backward", backward_body(model_, 4));
  EXPECT_EQ(api_.run("optim_step", step_body(model_, 5))["metrics"]["step"], 1);
}

TEST_F(TrainingApiTest, MalformedBatchDoesNotHoldUpWhatFollows) {
  Json bad = backward_body(model_, 1);
  bad["forward_backward_input"]["data"] = "nothing";
  EXPECT_EQ(api_.refusal("forward_backward", bad).first, 422);
  EXPECT_THAT(api_.run("optim_step", step_body(model_, 2))["error"], HasSubstr("seq_id 1"));
  api_.run("forward_backward", backward_body(model_, 3));
  EXPECT_EQ(api_.run("optim_step", step_body(model_, 4))["metrics"]["step"], 1);
}

TEST_F(TrainingApiTest, SparseTargetsOfAnyWidthAreRefusedBeforeTheyAreSpreadOut) {
  Json wide = count_datum(1, 4);
  for (const char* name : {"target_tokens", "weights"}) {
    Json& input = wide["loss_fn_inputs"][name];
    input = {{"dtype", name[0] == 't' ? "int64" : "float32"},
             {"shape", {4, std::int64_t{1} << 40}},
             {"data", {1}},
             {"sparse_crow_indices", {0, 1, 1, 1, 1}},
             {"sparse_col_indices", {7}}};
  }
  const Json bad = api_.run("forward_backward", backward_body(model_, 1, {wide}));
  EXPECT_EQ(bad["category"], "user");
  EXPECT_THAT(bad["error"], HasSubstr("datum 0: target_tokens has shape [4, 1099511627776]"));
}

TEST_F(TrainingApiTest, ASequenceIdThatCannotBeCountedOnFromIsRefused) {
  for (const std::int64_t id : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::max()}) {
    EXPECT_EQ(api_.refusal("optim_step", step_body(model_, id)).first, 422);
    EXPECT_EQ(api_.refusal("forward_backward", backward_body(model_, id)).first, 422);
  }
}

TEST_F(TrainingApiTest, ForwardGivesTheSameNumbersAndLeavesNoGradient) {
  Json forward = backward_body(model_, 1);
  forward["forward_input"] = forward["forward_backward_input"];
  forward.erase("forward_backward_input");
  const Json only = api_.run("forward", forward);
  const Json both = api_.run("forward_backward", backward_body(model_, 2));
  EXPECT_EQ(only["loss_fn_outputs"], both["loss_fn_outputs"]);
  EXPECT_EQ(loss(only), loss(both));
  const std::string plain = api_.model(session_, 1);
  submit("forward_backward", backward_body(plain, 1));
  EXPECT_EQ(api_.run("optim_step", step_body(model_, 3))["metrics"]["grad_norm"],
            api_.run("optim_step", step_body(plain, 2))["metrics"]["grad_norm"]);
}

TEST_F(TrainingApiTest, ProtobufGivesTheSameAsJson) {
  const Json in_json = api_.run("forward_backward", backward_body(model_, 1));
  Datum datum;
  datum.model_input = ModelInput::from_tokens(std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 7, 8});
  datum.loss_fn_inputs = {
      {"target_tokens", TensorData::from(std::vector<std::int64_t>{2, 3, 4, 5, 6, 7, 8, 9})},
      {"weights", TensorData::from(std::vector<float>(8, 1.0f))}};
  const wire::Codec& codec = wire::proto_codec();
  ByteBuffer body;
  const LossConfig config;
  ASSERT_TRUE(codec.encode_request({.model_id = model_,
                                    .data = {&datum, 1},
                                    .loss_fn = "cross_entropy",
                                    .loss_fn_config = config},
                                   body));
  codec.append_seq_id(2, body);
  const Reply accepted = api_.call("POST", "forward_backward", body.view(),
                                   {{"content-type", "application/x-protobuf"}});
  ASSERT_EQ(accepted.status, 200) << accepted.body;
  const std::string id = Json::parse(accepted.body)["request_id"];
  api_.result(id);
  const Reply reply = api_.call("POST", "retrieve_future", Json({{"request_id", id}}).dump(),
                                {{"accept", "application/x-protobuf"}});
  EXPECT_EQ(reply.content_type, codec.content_type());
  const auto output = codec.decode_output(reply.body);
  ASSERT_TRUE(output) << output.error().what();
  EXPECT_EQ(output->metrics.at("loss:sum"), loss(in_json));
  ASSERT_EQ(output->loss_fn_outputs.size(), 1u);
  EXPECT_EQ(Json(find(output->loss_fn_outputs[0], "logprobs")->to_floats()),
            Json(in_json["loss_fn_outputs"][0]["logprobs"]["data"].get<std::vector<float>>()));
}

TEST_F(TrainingApiTest, HostileProtobufIsRefused) {
  for (const std::string& body :
       {std::string("\x0a\xff\xff\xff\xff\x7f"), std::string("garbage"), std::string(64, '\xff')}) {
    const Reply reply =
        api_.call("POST", "forward_backward", body, {{"content-type", "application/x-protobuf"}});
    EXPECT_EQ(reply.status, 422) << reply.body;
  }
  EXPECT_EQ(api_.call("POST", "forward_backward", "x", {{"content-encoding", "zstd"}}).status, 415);
}

TEST(LongPollTest, IsHeldThenAnsweredWithTryAgain) {
  BackendOptions options;
  options.poll_hold = milliseconds(20);
  TestBackend api(options);
  const std::string model = api.model(api.session());
  const std::string step = api.post("optim_step", step_body(model, 2)).at("request_id");
  const auto begun = std::chrono::steady_clock::now();
  const Json pending = api.post("retrieve_future", {{"request_id", step}});
  EXPECT_GE(std::chrono::steady_clock::now() - begun, milliseconds(20));
  EXPECT_EQ(pending,
            Json({{"type", "try_again"}, {"request_id", step}, {"queue_state", "active"}}));
  api.post("forward_backward", backward_body(model, 1));
  EXPECT_EQ(api.result(step)["metrics"]["step"], 1);
}

TEST(GapTest, OperationsBehindALostOneFailInTheEnd) {
  BackendOptions options;
  options.gap_timeout = milliseconds(20);
  TestBackend api(options);
  const std::string model = api.model(api.session());
  const Json failed = api.run("forward_backward", backward_body(model, 2));
  EXPECT_THAT(failed["error"], HasSubstr("seq_id 1 never came"));
  EXPECT_EQ(failed["category"], "user");
}

TEST(BackpressureTest, TooManyWaitingOperationsGet429WithRetryAfter) {
  BackendOptions options;
  options.max_queued_operations = 1;
  TestBackend api(options);
  const std::string model = api.model(api.session());
  api.post("optim_step", step_body(model, 2));
  const Reply full = api.call("POST", "optim_step", step_body(model, 3).dump());
  EXPECT_EQ(full.status, 429);
  ASSERT_EQ(full.headers.size(), 1u);
  EXPECT_EQ(full.headers[0].first, "retry-after");
}

BackendOptions verbose() {
  BackendOptions options;
  options.verbose = true;
  return options;
}

/// A batch of many micro-batches: it takes many seconds unless it is cut short.
class LongBatchTest : public ::testing::Test {
 protected:
  LongBatchTest() {
    ::testing::internal::CaptureStderr();
    Json data = Json::array();
    for (int i = 0; i < 2000; ++i) data.push_back(count_datum(1, 250));
    const Json accepted = api_.post("forward_backward", backward_body(model_, 1, std::move(data)));
    const std::string poll = Json({{"request_id", accepted["request_id"]}}).dump();
    api_.backend().handle({"POST", "/api/v1/retrieve_future",
                           [](std::string_view) { return std::string_view(); }, poll},
                          [this](Reply reply) { answer_ = reply.body; });
    // Gives it time to begin. If it has not, it is not run at all, which the tests allow.
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }

  /// Everything that the backend says until its end.
  std::string log() {
    api_.backend().shutdown();
    return ::testing::internal::GetCapturedStderr();
  }

  TestBackend api_{verbose()};
  const std::string session_ = api_.session();
  const std::string model_ = api_.model(session_);
  std::string answer_;
};

TEST_F(LongBatchTest, IsCutShortByShutdown) {
  EXPECT_THAT(log(), Not(ContainsRegex("forward_backward.*: ok")));
  EXPECT_THAT(answer_, HasSubstr("\"category\":\"server\""));
}

TEST_F(LongBatchTest, IsCutShortByShutdownThoughItsModelIsBeingUnloaded) {
  api_.post("unload_model", {{"model_id", model_}});
  EXPECT_THAT(log(), Not(ContainsRegex("forward_backward.*: ok")));
  EXPECT_THAT(answer_, HasSubstr("\"category\":\"server\""));
}

TEST_F(LongBatchTest, IsCutShortByTheEndOfItsSession) {
  api_.post("sessions/" + session_ + "/finish", Json::object());
  api_.model(api_.session());  // Waits for the compute thread.
  EXPECT_THAT(log(), ContainsRegex("forward_backward.*failed"));
  EXPECT_THAT(answer_, HasSubstr("was finished"));
}

TEST_F(TrainingApiTest, UnloadedModelRunsWhatIsInOrderAndIsGone) {
  const std::string batch = submit("forward_backward", backward_body(model_, 1));
  const Json unloaded = api_.run("unload_model", {{"model_id", model_}});
  EXPECT_EQ(unloaded, Json({{"model_id", model_}, {"type", "unload_model"}}));
  EXPECT_TRUE(api_.result(batch).contains("metrics"));
  EXPECT_EQ(api_.refusal("optim_step", step_body(model_, 2)).first, 404);
}

}  // namespace
}  // namespace tinkex::torch_ext::local
