#include "tests/torch_ext/local/test_backend.h"

#include <gtest/gtest.h>

#include <future>
#include <utility>

namespace tinkex::torch_ext::local {

using Json = TestBackend::Json;

namespace {

/// Many small operations on a busy machine: a second thread would only spin.
BackendOptions single_threaded(BackendOptions options) {
  options.threads = 1;
  return options;
}

}  // namespace

TestBackend::TestBackend(BackendOptions options)
    : backend_(Backend::create(single_threaded(std::move(options))).value()) {}

Reply TestBackend::call(std::string_view method, std::string_view path, std::string_view body,
                        const Headers& headers) {
  const std::string target = "/api/v1/" + std::string(path);
  const auto header = [&headers](std::string_view name) -> std::string_view {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string_view() : std::string_view(found->second);
  };
  auto promise = std::make_shared<std::promise<Reply>>();
  backend_->handle({method, target, header, body},
                   [promise](Reply reply) { promise->set_value(std::move(reply)); });
  return promise->get_future().get();
}

Json TestBackend::get(std::string_view path) {
  const Reply reply = call("GET", path);
  EXPECT_EQ(reply.status, 200) << path << ": " << reply.body;
  return Json::parse(reply.body);
}

Json TestBackend::post(std::string_view path, const Json& body) {
  const Reply reply = call("POST", path, body.dump());
  EXPECT_EQ(reply.status, 200) << path << ": " << reply.body;
  return Json::parse(reply.body);
}

std::pair<int, std::string> TestBackend::refusal(std::string_view path, const Json& body) {
  const Reply reply = call("POST", path, body.dump());
  const Json parsed = Json::parse(reply.body, nullptr, false);
  const bool has_detail = parsed.is_object() && parsed.contains("detail");
  return {reply.status, has_detail ? parsed["detail"].get<std::string>() : reply.body};
}

Json TestBackend::result(const std::string& request_id) {
  while (true) {
    const Json reply =
        post("retrieve_future", {{"request_id", request_id}, {"allow_metadata_only", true}});
    if (reply.value("type", "") != "try_again") return reply;
  }
}

Json TestBackend::run(std::string_view path, const Json& body) {
  const Json accepted = post(path, body);
  if (!accepted.contains("request_id")) return accepted;
  return result(accepted["request_id"]);
}

std::string TestBackend::session() {
  return post("create_session",
              {{"tags", Json::array()}, {"sdk_version", "test"}, {"type", "create_session"}})
      .at("session_id");
}

std::string TestBackend::model(const std::string& session, int number) {
  const Json made = run("create_model", {{"session_id", session},
                                         {"model_seq_id", number},
                                         {"base_model", kNano},
                                         {"lora_config", {{"rank", 4}, {"seed", 1}}},
                                         {"type", "create_model"}});
  return made.at("model_id");
}

std::string TestBackend::sampler(const std::string& session, int number, const Json& weights) {
  Json body = {{"session_id", session}, {"sampling_session_seq_id", number}};
  body.update(weights);
  return post("create_sampling_session", body).at("sampling_session_id");
}

Json count_datum(int first, int length) {
  Json tokens = Json::array();
  Json targets = Json::array();
  for (int i = 0; i < length; ++i) {
    tokens.push_back(first + i);
    targets.push_back(first + i + 1);
  }
  const Json weights = Json(std::vector<double>(static_cast<std::size_t>(length), 1.0));
  return {{"model_input",
           {{"chunks", Json::array({{{"type", "encoded_text"}, {"tokens", std::move(tokens)}}})}}},
          {"loss_fn_inputs",
           {{"target_tokens", {{"data", std::move(targets)}, {"dtype", "int64"}}},
            {"weights", {{"data", weights}, {"dtype", "float32"}}}}}};
}

Json backward_body(const std::string& model, std::int64_t seq_id, Json data) {
  return {{"model_id", model},
          {"seq_id", seq_id},
          {"forward_backward_input", {{"loss_fn", "cross_entropy"}, {"data", std::move(data)}}}};
}

Json step_body(const std::string& model, std::int64_t seq_id, double learning_rate) {
  return {{"model_id", model},
          {"seq_id", seq_id},
          {"adam_params", {{"learning_rate", learning_rate}}},
          {"type", "optim_step"}};
}

Json sample_body(const std::string& sampler, int seq_id) {
  return {
      {"sampling_session_id", sampler},
      {"seq_id", seq_id},
      {"num_samples", 2},
      {"prompt", {{"chunks", Json::array({{{"type", "encoded_text"}, {"tokens", {1, 2, 3}}}})}}},
      {"sampling_params", {{"max_tokens", 4}, {"temperature", 0.0}, {"stop", Json::array()}}},
      {"prompt_logprobs", true},
      {"type", "sample"}};
}

}  // namespace tinkex::torch_ext::local
