// Sessions, keys, bodies and paths: what every endpoint has in common.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/torch_ext/local/test_backend.h"

namespace tinkex::torch_ext::local {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

const std::vector<std::string> kPosts = {"client/config",
                                         "client/dynamic_config",
                                         "create_session",
                                         "session_heartbeat",
                                         "sessions/x/finish",
                                         "telemetry",
                                         "cancel_future",
                                         "create_model",
                                         "get_info",
                                         "unload_model",
                                         "forward_backward",
                                         "forward",
                                         "optim_step",
                                         "save_weights",
                                         "load_weights",
                                         "save_weights_for_sampler",
                                         "weights_info",
                                         "asample",
                                         "create_sampling_session",
                                         "retrieve_future"};
const std::vector<std::string> kGets = {"healthz",         "get_server_capabilities",
                                        "samplers/x",      "training_runs",
                                        "training_runs/x", "training_runs/x/checkpoints"};

TEST(ServiceApiTest, EveryEndpointExistsUnderItsMethodOnly) {
  TestBackend api;
  for (const std::string& path : kPosts) {
    EXPECT_NE(api.call("POST", path, "{}").status, 405) << path;
    EXPECT_THAT(api.call("POST", path, "{}").body, Not(HasSubstr("no such endpoint"))) << path;
    EXPECT_EQ(api.call("GET", path).status, 405) << path;
  }
  for (const std::string& path : kGets) {
    EXPECT_THAT(api.call("GET", path).body, Not(HasSubstr("no such endpoint"))) << path;
    EXPECT_EQ(api.call("POST", path, "{}").status, 405) << path;
  }
  EXPECT_EQ(api.call("POST", "nothing", "{}").status, 404);
}

TEST(ServiceApiTest, AModelFromFilesTellsItsFamilyAndWhereItsTokenizerIs) {
  const std::string folder = "tests/torch_ext/local/testdata/models/qwen3";
  BackendOptions options;
  options.base_models = {folder};
  TestBackend api(options);
  for (const std::string& name : {std::string("qwen3"), folder}) {
    const std::string session = api.session();
    const Json made = api.post("create_model", {{"session_id", session},
                                                {"model_seq_id", 0},
                                                {"base_model", name},
                                                {"lora_config", {{"rank", 1}}}});
    const Json data = api.post("get_info", {{"model_id", made["model_id"]}})["model_data"];
    EXPECT_EQ(data["arch"], "qwen3");
    EXPECT_EQ(data["model_name"], "qwen3");
    EXPECT_EQ(data["tokenizer_id"], std::filesystem::absolute(folder).string());
  }
}

TEST(ServiceApiTest, MalformedBodiesAre422WithADetail) {
  TestBackend api;
  for (const std::string& path : kPosts) {
    if (path == "telemetry" || path == "client/dynamic_config") continue;  // Not read at all.
    for (const char* body : {"{", "[1,2]", "\"text\"", "\xff\xfe"}) {
      const Reply reply = api.call("POST", path, body);
      EXPECT_EQ(reply.status, 422) << path << " " << body << ": " << reply.body;
      EXPECT_TRUE(Json::parse(reply.body).contains("detail"));
    }
  }
}

TEST(ServiceApiTest, WrongTypesNameTheField) {
  TestBackend api;
  const std::vector<std::tuple<const char*, Json, const char*>> cases = {
      {"create_session", {{"tags", 3}}, "tags: must be an array"},
      {"session_heartbeat", {{"session_id", 7}}, "session_id: must be a string, not 7"},
      {"create_model", {{"session_id", "s"}, {"model_seq_id", "0"}}, "model_seq_id: must be"},
      {"create_model",
       {{"session_id", "s"},
        {"model_seq_id", 0},
        {"base_model", kNano},
        {"lora_config", {{"rank", true}}}},
       "lora_config.rank: must be an integer"},
      {"get_info", Json::object(), "model_id: is required"},
      {"optim_step",
       {{"model_id", "m"}, {"adam_params", {{"learning_rate", "fast"}}}},
       "adam_params.learning_rate: must be a number, not \"fast\""},
      {"optim_step", {{"model_id", "m"}, {"seq_id", -1}}, "seq_id: must not be negative"},
      {"save_weights", {{"model_id", "m"}, {"overwrite", "yes"}}, "overwrite: must be true or"},
      {"load_weights", {{"model_id", "m"}}, "path: is required"},
      {"asample", {{"sampling_session_id", "s"}}, "prompt: is required"},
      {"retrieve_future", {{"request_id", 12}}, "request_id: must be a string, not 12"},
      {"weights_info", {{"tinker_path", "here"}}, "tinker://<run>/weights/<name>"},
  };
  for (const auto& [path, body, expected] : cases) {
    const auto [status, detail] = api.refusal(path, body);
    EXPECT_EQ(status, 422) << path;
    EXPECT_THAT(detail, HasSubstr(expected)) << path;
  }
}

TEST(ServiceApiTest, UnknownIdsAre404WithText) {
  TestBackend api;
  const Json data = Json::array({count_datum(1, 2)});
  const std::vector<std::pair<const char*, Json>> cases = {
      {"session_heartbeat", {{"session_id", "no"}}},
      {"sessions/no/finish", Json::object()},
      {"create_model", {{"session_id", "no"}, {"model_seq_id", 0}, {"base_model", kNano}}},
      {"get_info", {{"model_id", "no"}}},
      {"unload_model", {{"model_id", "no"}}},
      {"forward_backward", backward_body("no", 1)},
      {"optim_step", step_body("no", 1)},
      {"save_weights", {{"model_id", "no"}}},
      {"load_weights", {{"model_id", "no"}, {"path", "tinker://r/weights/x"}}},
      {"weights_info", {{"tinker_path", "tinker://r/weights/x"}}},
      {"asample", sample_body("no", 1)},
      {"create_sampling_session",
       {{"session_id", "no"}, {"sampling_session_seq_id", 0}, {"base_model", kNano}}},
      {"retrieve_future", {{"request_id", "no"}}},
  };
  for (const auto& [path, body] : cases) {
    const auto [status, detail] = api.refusal(path, body);
    EXPECT_EQ(status, 404) << path << ": " << detail;
    EXPECT_THAT(detail,
                HasSubstr(path == std::string("weights_info") ? "no checkpoint" : "unknown"))
        << path;
  }
  EXPECT_EQ(api.call("GET", "samplers/no").status, 404);
  EXPECT_EQ(api.call("GET", "training_runs/no").status, 404);
  EXPECT_EQ(api.call("GET", "training_runs/no/checkpoints").status, 404);
}

TEST(ServiceApiTest, KeyIsAskedForExceptByHealthz) {
  BackendOptions options;
  options.api_key = "tml-secret";
  TestBackend api(options);
  EXPECT_EQ(api.call("GET", "healthz").status, 200);
  const Reply missing = api.call("GET", "get_server_capabilities");
  EXPECT_EQ(missing.status, 401);
  for (const char* key : {"tml-secreT", "tml-secret2", "tml", "x"}) {
    const Reply wrong = api.call("GET", "get_server_capabilities", {}, {{"x-api-key", key}});
    EXPECT_EQ(wrong.status, 403) << key;
    EXPECT_THAT(wrong.body, Not(HasSubstr("tml-secret")));
  }
  EXPECT_EQ(api.call("GET", "get_server_capabilities", {}, {{"x-api-key", "tml-secret"}}).status,
            200);
}

TEST(ServiceApiTest, WebPagesAreRefused) {
  TestBackend api;
  EXPECT_EQ(api.call("POST", "create_session", "{}", {{"origin", "http://evil.example"}}).status,
            403);
}

TEST(ServiceApiTest, TellsWhatAClientNeedsBeforeItBegins) {
  TestBackend api;
  EXPECT_EQ(api.get("healthz"), Json({{"status", "ok"}}));
  const Json config = api.post("client/config", {{"sdk_version", "0.38.0"}});
  EXPECT_FALSE(config["pjwt_auth_enabled"].get<bool>());
  EXPECT_EQ(config["fwdbwd_max_chunk_len"], 1024);
  const Json dynamic = api.post("client/dynamic_config", {{"sdk_version", "0.38.0"}});
  EXPECT_TRUE(dynamic.contains("refresh_interval_sec"));
  EXPECT_TRUE(dynamic["sample_cancel_enabled"].get<bool>());
  EXPECT_EQ(api.post("telemetry", {{"events", Json::array()}}), Json({{"status", "accepted"}}));
  const Json models = api.get("get_server_capabilities")["supported_models"];
  ASSERT_FALSE(models.empty());
  for (const Json& model : models) EXPECT_GT(model["max_context_length"].get<int>(), 0);
}

TEST(ServiceApiTest, FinishedSessionIsGoneAndRefusesWork) {
  TestBackend api;
  const std::string session = api.session();
  EXPECT_EQ(api.post("session_heartbeat", {{"session_id", session}})["type"], "session_heartbeat");
  const std::string model = api.model(session);
  const std::string sampler = api.sampler(session, 0, {{"base_model", kNano}});
  const std::string held =
      api.post("optim_step", step_body(model, 2)).at("request_id").get<std::string>();
  const Json reason = {{"reason", {{"type", "success"}}}, {"detail", nullptr}};
  for (int i = 0; i < 2; ++i) api.post("sessions/" + session + "/finish", reason);
  EXPECT_EQ(api.refusal("session_heartbeat", {{"session_id", session}}).first, 410);
  EXPECT_EQ(api.refusal("optim_step", step_body(model, 1)).first, 404);
  EXPECT_EQ(api.refusal("asample", sample_body(sampler, 1)).first, 404);
  EXPECT_EQ(api.refusal("create_model",
                        {{"session_id", session}, {"model_seq_id", 1}, {"base_model", kNano}})
                .first,
            404);
  EXPECT_EQ(api.refusal("retrieve_future", {{"request_id", held}}).first, 410);
}

TEST(ServiceApiTest, ShutdownAnswersWhatWaitsAndRefusesTheRest) {
  TestBackend api;
  const std::string model = api.model(api.session());
  const std::string held =
      api.post("optim_step", step_body(model, 2)).at("request_id").get<std::string>();
  std::string body;
  const std::string poll = Json({{"request_id", held}}).dump();
  api.backend().handle({"POST", "/api/v1/retrieve_future",
                        [](std::string_view) { return std::string_view(); }, poll},
                       [&](Reply reply) { body = reply.body; });
  EXPECT_EQ(body, "");
  api.backend().shutdown();
  EXPECT_THAT(body, HasSubstr("shut down"));
  EXPECT_EQ(Json::parse(body)["category"], "server");
  EXPECT_EQ(api.call("GET", "get_server_capabilities").status, 503);
}

}  // namespace
}  // namespace tinkex::torch_ext::local
