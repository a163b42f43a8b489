#include "tinkex/mocks/tinker_script.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace tinkex::mocks {
namespace {

using Json = nlohmann::json;

}  // namespace

TinkerScript::TinkerScript() : state_(std::make_shared<TinkerOperations>()) {
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
  for (const std::string_view endpoint : kOperationEndpoints) {
    server_.handle("POST", path(endpoint),
                   [state = state_, name = std::string(endpoint)](const LoggedRequest& request) {
                     return state->submit(name, request);
                   });
  }
  server_.handle("POST", path("retrieve_future"),
                 [state = state_](const LoggedRequest& request) { return state->poll(request); });
}

void TinkerScript::plan(std::string kind, OperationPlan plan) {
  state_->plan(std::move(kind), std::move(plan));
}

void TinkerScript::plan_each(PlanFn plan) { state_->plan_each(std::move(plan)); }

void TinkerScript::reorder(const std::string& kind, const std::vector<std::size_t>& order) {
  std::vector<OperationPlan> plans(order.size());
  for (std::size_t i = 1; i < order.size(); ++i) {
    const auto gate = std::make_shared<Gate>();
    plans.at(order[i - 1]).result_opens = gate;
    plans.at(order[i]).result_gate = gate;
  }
  for (OperationPlan& made : plans) plan(kind, std::move(made));
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
