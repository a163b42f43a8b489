#include "tinkex/mocks/tinker_script.h"

#include <algorithm>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "tinkex/base/mutex.h"
#include "tinkex/mocks/tinker_results.h"

namespace tinkex::mocks {
namespace {

using Json = nlohmann::json;

Reply complaint(int status, const std::string& detail) {
  return Reply::json(Json{{"detail", detail}}.dump(), status);
}

/// Takes the first of what is left, if anything is.
std::optional<Reply> pop_front(std::vector<Reply>& replies) {
  if (replies.empty()) return std::nullopt;
  Reply first = std::move(replies.front());
  replies.erase(replies.begin());
  return first;
}

}  // namespace

/// The operations and their plans. Called by the server's thread and by the test's.
class TinkerScript::State {
 public:
  Reply submit(const std::string& endpoint, const LoggedRequest& request);
  Reply poll(const LoggedRequest& request);
  Reply create_sampling_session();
  Reply get_info(const LoggedRequest& request) const;

  void plan(std::string kind, OperationPlan plan);
  void set_result(std::string kind, ResultFn result);
  std::vector<Operation> operations(std::string_view kind) const;

 private:
  /// Repeats are recognised by it; a submission without a sequence id never is one.
  using Key = std::tuple<std::string, std::int64_t>;
  struct Entry {
    Operation operation;
    OperationPlan plan;
    bool accepted = false;
  };

  Result<Operation> read(const std::string& endpoint, const LoggedRequest& request)
      TINKEX_REQUIRES(mutex_);
  std::shared_ptr<Entry> entry_for(Operation operation) TINKEX_REQUIRES(mutex_);
  void accept(const std::shared_ptr<Entry>& entry) TINKEX_REQUIRES(mutex_);
  std::string future_json(const Operation& operation) const;
  ResultFn result_fn(const std::string& kind) const TINKEX_REQUIRES(mutex_);

  mutable internal::Mutex mutex_;
  std::map<std::string, std::deque<OperationPlan>> plans_ TINKEX_GUARDED_BY(mutex_);
  std::map<std::string, ResultFn> results_ TINKEX_GUARDED_BY(mutex_);
  std::map<Key, std::shared_ptr<Entry>> by_key_ TINKEX_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Entry>> accepted_ TINKEX_GUARDED_BY(mutex_);
  int models_ TINKEX_GUARDED_BY(mutex_) = 0;
  int samplers_ TINKEX_GUARDED_BY(mutex_) = 0;
};

Result<Operation> TinkerScript::State::read(const std::string& endpoint,
                                            const LoggedRequest& request) {
  Operation operation;
  operation.kind = endpoint;
  operation.log_index = request.index;
  operation.body = request.body;
  if (endpoint == "forward_backward" || endpoint == "forward") {
    const wire::Codec& codec = wire::codec_for_content_type(request.header("content-type"));
    auto batch = codec.decode_request(request.body, endpoint == "forward");
    if (!batch.ok()) return batch.error();
    operation.batch = std::make_shared<wire::ForwardBackwardRequest>(*std::move(batch));
    operation.owner = operation.batch->model_id;
    operation.seq_id = operation.batch->seq_id;
    if (operation.batch->forward_only) operation.kind = "forward";
    return operation;
  }
  const Json json = Json::parse(request.body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Error(ErrorCode::kDecode, "the body is not a JSON object");
  operation.seq_id = json.value("seq_id", std::int64_t{0});
  operation.owner = json.value(endpoint == "asample" ? "sampling_session_id" : "model_id", "");
  if (operation.owner.empty() && json.contains("model_seq_id")) {
    operation.owner = "model-" + std::to_string(++models_);
  }
  if (operation.owner.empty()) return Error(ErrorCode::kDecode, "the body names no model");
  return operation;
}

std::shared_ptr<TinkerScript::State::Entry> TinkerScript::State::entry_for(Operation operation) {
  const Key key{operation.owner, operation.seq_id};
  const auto found = operation.seq_id == 0 ? by_key_.end() : by_key_.find(key);
  // An id whose submission was refused may come back with another operation.
  if (found != by_key_.end() &&
      (found->second->accepted || found->second->operation.body == operation.body)) {
    ++found->second->operation.submissions;
    return found->second;
  }
  auto entry = std::make_shared<Entry>();
  auto& plans = plans_[operation.kind];
  if (!plans.empty()) {
    entry->plan = std::move(plans.front());
    plans.pop_front();
  }
  entry->operation = std::move(operation);
  if (entry->operation.seq_id != 0) by_key_[key] = entry;
  return entry;
}

void TinkerScript::State::accept(const std::shared_ptr<Entry>& entry) {
  if (entry->accepted) return;
  entry->accepted = true;
  accepted_.push_back(entry);
  entry->operation.request_id = "request-" + std::to_string(accepted_.size());
}

std::string TinkerScript::State::future_json(const Operation& operation) const {
  Json json{{"request_id", operation.request_id}};
  if (operation.kind != "asample") {
    json["model_id"] = operation.owner;
    return json.dump();
  }
  const auto count = Json::parse(operation.body).value("num_samples", 1);
  for (int i = 0; i < count; ++i) {
    json["sample_sequence_ids"].push_back(operation.request_id + "-" + std::to_string(i));
  }
  return json.dump();
}

TinkerScript::ResultFn TinkerScript::State::result_fn(const std::string& kind) const {
  const auto found = results_.find(kind);
  return found == results_.end() ? ResultFn(default_result) : found->second;
}

Reply TinkerScript::State::submit(const std::string& endpoint, const LoggedRequest& request) {
  Operation operation;
  OperationPlan plan;
  ResultFn compute;
  {
    internal::MutexLock lock(mutex_);
    Result<Operation> read_operation = read(endpoint, request);
    if (!read_operation.ok()) return complaint(422, read_operation.error().message());
    const auto entry = entry_for(*std::move(read_operation));
    if (auto refusal = pop_front(entry->plan.refusals)) return *std::move(refusal);
    if (!entry->accepted) entry->operation.log_index = request.index;
    accept(entry);
    operation = entry->operation;
    plan = entry->plan;
    compute = result_fn(operation.kind);
  }
  Reply reply = Reply::json(future_json(operation));
  if (plan.immediate) {
    reply = plan.result ? *plan.result : compute(operation, request.header("accept"));
  }
  return std::move(reply).after(plan.submit_delay).held_by(plan.submit_gate);
}

Reply TinkerScript::State::poll(const LoggedRequest& request) {
  const Json json = Json::parse(request.body, nullptr, /*allow_exceptions=*/false);
  const std::string id = json.is_object() ? json.value("request_id", "") : "";
  Operation operation;
  OperationPlan plan;
  ResultFn compute;
  {
    internal::MutexLock lock(mutex_);
    const auto is_it = [&id](const auto& entry) { return entry->operation.request_id == id; };
    const auto found = std::find_if(accepted_.begin(), accepted_.end(), is_it);
    if (found == accepted_.end()) return complaint(404, "unknown request " + id);
    ++(*found)->operation.polls;
    if (auto reply = pop_front((*found)->plan.polls)) return *std::move(reply);
    operation = (*found)->operation;
    plan = (*found)->plan;
    compute = result_fn(operation.kind);
  }
  Reply reply = plan.result ? *plan.result : compute(operation, request.header("accept"));
  return std::move(reply).after(plan.result_delay).held_by(plan.result_gate);
}

Reply TinkerScript::State::create_sampling_session() {
  internal::MutexLock lock(mutex_);
  const std::string id = "sampler-" + std::to_string(++samplers_);
  return Reply::json(Json{{"type", "create_sampling_session"}, {"sampling_session_id", id}}.dump());
}

Reply TinkerScript::State::get_info(const LoggedRequest& request) const {
  const std::string model = Json::parse(request.body).value("model_id", "");
  std::string base_model = "scripted";
  std::int64_t rank = 8;
  for (const Operation& created : operations("create_model")) {
    if (created.owner != model) continue;
    const Json json = Json::parse(created.body);
    base_model = json.value("base_model", base_model);
    rank = json.value(Json::json_pointer("/lora_config/rank"), rank);
  }
  const Json info{{"type", "get_info"},
                  {"model_id", model},
                  {"model_data", {{"model_name", base_model}, {"arch", "none"}}},
                  {"is_lora", true},
                  {"lora_rank", rank}};
  return Reply::json(info.dump());
}

void TinkerScript::State::plan(std::string kind, OperationPlan plan) {
  internal::MutexLock lock(mutex_);
  plans_[std::move(kind)].push_back(std::move(plan));
}

void TinkerScript::State::set_result(std::string kind, ResultFn result) {
  internal::MutexLock lock(mutex_);
  results_[std::move(kind)] = std::move(result);
}

std::vector<Operation> TinkerScript::State::operations(std::string_view kind) const {
  internal::MutexLock lock(mutex_);
  std::vector<Operation> selected;
  for (const auto& entry : accepted_) {
    if (kind.empty() || entry->operation.kind == kind) selected.push_back(entry->operation);
  }
  return selected;
}

TinkerScript::TinkerScript() : state_(std::make_shared<State>()) {
  add_service_routes();
  add_operation_routes();
}

std::string TinkerScript::path(std::string_view endpoint) {
  return "/api/v1/" + std::string(endpoint);
}

ClientOptions TinkerScript::options() const {
  ClientOptions options;
  options.base_url = base_url();
  options.retry.initial_backoff = std::chrono::milliseconds(5);
  options.retry.max_attempts = 8;
  return options;
}

void TinkerScript::add_service_routes() {
  const auto fixed = [this](std::string method, std::string_view endpoint, Json json, int status) {
    server_.handle(
        std::move(method), path(endpoint),
        [body = json.dump(), status](const LoggedRequest&) { return Reply::json(body, status); });
  };
  fixed("GET", "healthz", {{"status", "ok"}}, 200);
  fixed("POST", "client/config", Json::object(), 200);
  fixed("POST", "client/dynamic_config", {{"detail", "Not Found"}}, 404);
  fixed("POST", "create_session", {{"type", "create_session"}, {"session_id", "session-1"}}, 200);
  fixed("POST", "session_heartbeat", {{"type", "session_heartbeat"}}, 200);
  fixed("POST", "sessions/", Json::object(), 200);
  fixed("POST", "telemetry", {{"status", "accepted"}}, 200);
  fixed("GET", "get_server_capabilities",
        {{"supported_models", {{{"model_name", "scripted"}, {"max_context_length", 4096}}}}}, 200);
  server_.handle("POST", path("get_info"), [state = state_](const LoggedRequest& request) {
    return state->get_info(request);
  });
  server_.handle("POST", path("create_sampling_session"), [state = state_](const LoggedRequest&) {
    return state->create_sampling_session();
  });
}

void TinkerScript::add_operation_routes() {
  for (const char* endpoint :
       {"create_model", "forward_backward", "forward", "optim_step", "save_weights",
        "save_weights_for_sampler", "load_weights", "asample"}) {
    server_.handle("POST", path(endpoint),
                   [state = state_, endpoint](const LoggedRequest& request) {
                     return state->submit(endpoint, request);
                   });
  }
  server_.handle("POST", path("retrieve_future"),
                 [state = state_](const LoggedRequest& request) { return state->poll(request); });
}

void TinkerScript::plan(std::string kind, OperationPlan plan) {
  state_->plan(std::move(kind), std::move(plan));
}

void TinkerScript::set_result(std::string kind, ResultFn result) {
  state_->set_result(std::move(kind), std::move(result));
}

std::vector<Operation> TinkerScript::operations(std::string_view kind) const {
  return state_->operations(kind);
}

Reply TinkerScript::try_again(std::string queue_state,
                              std::optional<std::chrono::milliseconds> retry_after) {
  Json json{{"type", "try_again"}, {"request_id", ""}, {"queue_state", std::move(queue_state)}};
  if (retry_after) json["retry_after_ms"] = retry_after->count();
  return Reply::json(json.dump());
}

Reply TinkerScript::failed(std::string error, std::string category) {
  return Reply::json(Json{{"error", std::move(error)}, {"category", std::move(category)}}.dump());
}

}  // namespace tinkex::mocks
