#include "tinkex/mocks/tinker_operations.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

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

Result<Operation> read_operation(const std::string& endpoint, const LoggedRequest& request) {
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
  if (operation.owner.empty() && !json.contains("model_seq_id")) {
    return Error(ErrorCode::kDecode, "the body names no model");
  }
  return operation;
}

std::shared_ptr<TinkerOperations::Entry> TinkerOperations::entry_for(Operation operation) {
  const Key key{operation.owner, operation.seq_id};
  const auto found = operation.seq_id == 0 ? by_key_.end() : by_key_.find(key);
  // An id whose submission was refused may come back with another operation.
  if (found != by_key_.end() &&
      (found->second->accepted || found->second->operation.body == operation.body)) {
    ++found->second->operation.submissions;
    return found->second;
  }
  auto entry = std::make_shared<Entry>();
  entry->plan = plan_for(operation);
  entry->operation = std::move(operation);
  if (entry->operation.seq_id != 0) by_key_[key] = entry;
  return entry;
}

OperationPlan TinkerOperations::plan_for(const Operation& operation) {
  auto& plans = plans_[operation.kind];
  if (plans.empty()) return plan_each_ ? plan_each_(operation) : OperationPlan();
  OperationPlan plan = std::move(plans.front());
  plans.pop_front();
  return plan;
}

void TinkerOperations::accept(const std::shared_ptr<Entry>& entry) {
  if (entry->accepted) return;
  entry->accepted = true;
  accepted_.push_back(entry);
  entry->operation.request_id = "request-" + std::to_string(accepted_.size());
}

std::string TinkerOperations::future_json(const Operation& operation) const {
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

ResultFn TinkerOperations::result_fn(const std::string& kind) const {
  const auto found = results_.find(kind);
  return found == results_.end() ? ResultFn(default_result) : found->second;
}

Reply TinkerOperations::submit(const std::string& endpoint, const LoggedRequest& request) {
  Operation operation;
  OperationPlan plan;
  ResultFn compute;
  {
    internal::MutexLock lock(mutex_);
    Result<Operation> read = read_operation(endpoint, request);
    if (!read.ok()) return complaint(422, read.error().message());
    if (read->owner.empty()) read->owner = "model-" + std::to_string(++models_);
    const auto entry = entry_for(*std::move(read));
    if (auto refusal = pop_front(entry->plan.refusals)) return *std::move(refusal);
    if (!entry->accepted) entry->operation.log_index = request.index;
    accept(entry);
    if (auto lost = pop_front(entry->plan.lost)) return *std::move(lost);
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

Reply TinkerOperations::poll(const LoggedRequest& request) {
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
  return std::move(reply)
      .after(plan.result_delay)
      .held_by(plan.result_gate)
      .then_open(plan.result_opens);
}

Reply TinkerOperations::create_sampling_session() {
  internal::MutexLock lock(mutex_);
  const std::string id = "sampler-" + std::to_string(++samplers_);
  return Reply::json(Json{{"type", "create_sampling_session"}, {"sampling_session_id", id}}.dump());
}

Reply TinkerOperations::get_info(const LoggedRequest& request) const {
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

void TinkerOperations::plan(std::string kind, OperationPlan plan) {
  internal::MutexLock lock(mutex_);
  plans_[std::move(kind)].push_back(std::move(plan));
}

void TinkerOperations::plan_each(PlanFn plan) {
  internal::MutexLock lock(mutex_);
  plan_each_ = std::move(plan);
}

void TinkerOperations::set_result(std::string kind, ResultFn result) {
  internal::MutexLock lock(mutex_);
  results_[std::move(kind)] = std::move(result);
}

std::vector<Operation> TinkerOperations::operations(std::string_view kind) const {
  internal::MutexLock lock(mutex_);
  std::vector<Operation> selected;
  for (const auto& entry : accepted_) {
    if (kind.empty() || entry->operation.kind == kind) selected.push_back(entry->operation);
  }
  return selected;
}

}  // namespace tinkex::mocks
