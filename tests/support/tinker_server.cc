#include "tests/support/tinker_server.h"

#include <nlohmann/json.hpp>

namespace tinkex::testing {
namespace {

using mocks::LoggedRequest;
using mocks::Reply;
using nlohmann::json;

bool is_training(std::string_view target) {
  return target.find("/forward") != std::string_view::npos ||
         target.find("/optim_step") != std::string_view::npos;
}

Reply output_of(const Operation& operation) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = "ArrayRecord";
  for (const std::int64_t token : operation.first_tokens) {
    output.loss_fn_outputs.push_back(
        {{"logprobs", TensorData::from(std::vector<float>{static_cast<float>(token)})}});
  }
  output.metrics["loss:sum"] = static_cast<double>(operation.examples);
  ByteBuffer body;
  if (!wire::proto_codec().encode_output(output, body).ok()) return Reply::json("{}", 500);
  return Reply::protobuf(std::string(body.view()));
}

Reply sample_result(int number) {
  const json body{
      {"type", "sample"},
      {"sequences",
       {{{"tokens", {number, 7}}, {"logprobs", {-0.5, -0.25}}, {"stop_reason", "stop"}}}},
      {"prompt_logprobs", {nullptr, -1.5}}};
  return Reply::json(body.dump());
}

}  // namespace

TinkerServer::TinkerServer() {
  const auto fixed = [this](std::string_view endpoint, std::string body) {
    server_.handle("POST", path(endpoint),
                   [body](const LoggedRequest&) { return Reply::json(body); });
  };
  const auto training = [this](std::string_view endpoint, std::string prefix) {
    server_.handle("POST", path(endpoint), [this, prefix](const LoggedRequest& request) {
      return submit(request, prefix);
    });
  };
  fixed("client/config", "{}");
  fixed("create_session", R"({"type":"create_session","session_id":"s1"})");
  fixed("session_heartbeat", R"({"type":"session_heartbeat"})");
  fixed("sessions/s1/finish", "{}");
  fixed("create_model", R"({"request_id":"created","model_id":"s1:train:0"})");
  fixed(
      "get_info",
      R"({"model_id":"s1:train:0","model_data":{"model_name":"base","tokenizer_id":"tinkex/bytes"}})");
  fixed("create_sampling_session",
        R"({"type":"create_sampling_session","sampling_session_id":"ss1"})");
  training("forward_backward", "fb");
  training("forward", "fw");
  training("optim_step", "op");
  training("save_weights", "save");
  training("save_weights_for_sampler", "sampler");
  training("load_weights", "load");
  server_.handle("POST", path("asample"), [this](const LoggedRequest&) {
    internal::MutexLock lock(mutex_);
    const int number = ++samples_;
    const std::string id = "sample-" + std::to_string(number);
    results_.insert_or_assign(id, sample_result(number));
    return Reply::json(json{{"request_id", id}, {"sample_sequence_ids", {id + "-a"}}}.dump());
  });
  server_.handle("POST", path("retrieve_future"),
                 [this](const LoggedRequest& request) { return poll(request); });
  internal::MutexLock lock(mutex_);
  results_.insert_or_assign("created",
                            Reply::json(R"({"type":"create_model","model_id":"s1:train:0"})"));
}

ClientOptions TinkerServer::options() const {
  ClientOptions options;
  options.base_url = server_.base_url();
  options.retry.initial_backoff = std::chrono::milliseconds(5);
  options.retry.max_attempts = 8;
  return options;
}

void TinkerServer::script_poll(const std::string& request_id, std::vector<Reply> replies) {
  internal::MutexLock lock(mutex_);
  scripted_polls_[request_id] = std::move(replies);
}

Operation TinkerServer::decode(const LoggedRequest& request) const {
  Operation operation;
  operation.path = request.target;
  operation.request = request;
  if (request.target.find("/forward") == std::string::npos) {
    const json body = json::parse(request.body, nullptr, false);
    if (body.is_object()) operation.seq_id = body.value("seq_id", std::int64_t{0});
    return operation;
  }
  const wire::Codec& codec = wire::codec_for_content_type(request.header("content-type"));
  const auto decoded = codec.decode_request(request.body, request.target == path("forward"));
  if (!decoded.ok()) return operation;
  operation.seq_id = decoded->seq_id;
  operation.examples = decoded->data.size();
  for (const Datum& datum : decoded->data) {
    operation.first_tokens.push_back(datum.model_input.text_tokens().front());
  }
  return operation;
}

Reply TinkerServer::submit(const LoggedRequest& request, const std::string& prefix) {
  const Operation operation = decode(request);
  const std::string id = prefix + "-" + std::to_string(operation.seq_id);
  Reply result = Reply::json(R"({"metrics":{"grad_norm":1.5}})");
  if (prefix == "fb" || prefix == "fw") result = output_of(operation);
  if (prefix == "save") result = Reply::json(R"({"path":"tinker://s1:train:0/weights/w"})");
  if (prefix == "load")
    result = Reply::json(R"({"path":"tinker://x/weights/w","model_id":"s1:train:0"})");
  if (prefix == "sampler") {
    const bool named = json::parse(request.body).contains("path");
    result = Reply::json(named ? R"({"path":"tinker://s1:train:0/sampler_weights/w"})"
                               : R"({"path":null,"sampling_session_id":"ss2"})");
  }
  internal::MutexLock lock(mutex_);
  results_.insert_or_assign(id, std::move(result));
  return Reply::json(json{{"request_id", id}, {"model_id", "s1:train:0"}}.dump());
}

Reply TinkerServer::poll(const LoggedRequest& request) {
  const json body = json::parse(request.body, nullptr, false);
  const std::string id = body.is_object() ? body.value("request_id", "") : "";
  internal::MutexLock lock(mutex_);
  ++polls_[id];
  auto& scripted = scripted_polls_[id];
  if (!scripted.empty()) {
    Reply reply = std::move(scripted.front());
    scripted.erase(scripted.begin());
    return reply;
  }
  const auto found = results_.find(id);
  return found == results_.end() ? Reply::json(R"({"detail":"no such future"})", 404)
                                 : found->second;
}

std::vector<Operation> TinkerServer::operations() const {
  std::vector<Operation> operations;
  for (const LoggedRequest& request : server_.log(path(""))) {
    if (is_training(request.target)) operations.push_back(decode(request));
  }
  return operations;
}

std::size_t TinkerServer::polls(const std::string& request_id) const {
  internal::MutexLock lock(mutex_);
  const auto found = polls_.find(request_id);
  return found == polls_.end() ? 0 : found->second;
}

}  // namespace tinkex::testing
