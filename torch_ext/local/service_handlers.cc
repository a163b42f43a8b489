// Sessions, configuration and what a client asks before it begins.

#include "torch_ext/local/api.h"
#include "torch_ext/local/config.h"
#include "torch_ext/local/json_fields.h"
#include "torch_ext/local/service.h"

namespace tinkex::torch_ext::local {
namespace {

using nlohmann::json;

Reply healthz(Service&, const Call&) { return json_reply({{"status", "ok"}}); }

Reply client_config(Service&, const Call& call) {
  JsonFields in(call.body);
  in.optional_string("sdk_version");
  if (!in.ok()) return unprocessable(in.error());
  return json_reply({{"pjwt_auth_enabled", false},
                     {"credential_default_source", "api_key"},
                     {"sample_dispatch_bytes_semaphore_size", 10 << 20},
                     {"inflight_response_bytes_semaphore_size", 50 << 20},
                     {"parallel_fwdbwd_chunks", true},
                     {"proto_compress_fwdbwd", false},
                     {"fwdbwd_max_chunk_len", 1024},
                     {"fwdbwd_max_chunk_bytes_count", 5'000'000},
                     {"sample_use_retrieve_futures", false},
                     {"sample_join_sampling_session", false},
                     {"custom_loss_server_side", false}});
}

Reply dynamic_config(Service&, const Call&) {
  return json_reply({{"refresh_interval_sec", 300}, {"sample_cancel_enabled", true}});
}

Reply capabilities(Service& service, const Call&) {
  json models = json::array();
  for (const std::string& name : service.models().names()) {
    json model = {{"model_name", name}, {"trainable", true}, {"sampleable", true}};
    if (const auto config = service.models().config(name)) {
      model["max_context_length"] = config->max_position_embeddings;
    }
    models.push_back(std::move(model));
  }
  return json_reply({{"supported_models", std::move(models)}});
}

Reply create_session(Service& service, const Call& call) {
  JsonFields in(call.body);
  in.array("tags");
  in.string_map("user_metadata");
  in.optional_string("sdk_version");
  if (!in.ok()) return unprocessable(in.error());
  const std::string id = service.registry().open_session();
  service.log("session " + id);
  return json_reply({{"type", "create_session"}, {"session_id", id}});
}

Reply unknown_session(const std::string& id) {
  return error_reply(404, "session '" + id + "' is unknown to this server; was it restarted?");
}

Reply session_heartbeat(Service& service, const Call& call) {
  JsonFields in(call.body);
  const std::string id = in.string("session_id");
  if (!in.ok()) return unprocessable(in.error());
  switch (service.registry().session_state(id)) {
    case Registry::SessionState::kOpen: break;
    case Registry::SessionState::kFinished:
      return error_reply(410, "session '" + id + "' was finished");
    case Registry::SessionState::kUnknown: return unknown_session(id);
  }
  return json_reply({{"type", "session_heartbeat"}});
}

Reply finish_session(Service& service, const Call& call) {
  const std::string& id = call.parameters.find("session_id")->second;
  JsonFields in(call.body);
  in.object("reason");
  in.optional_string("detail");
  if (!in.ok()) return unprocessable(in.error());
  if (service.registry().session_state(id) == Registry::SessionState::kUnknown) {
    return unknown_session(id);
  }
  service.finish_session(id);
  service.log("finished " + id);
  return json_reply({{"session_id", id}, {"type", "finish_session"}});
}

/// Clients report what they do; it is accepted, as the protocol asks, and discarded.
Reply telemetry(Service&, const Call&) { return json_reply({{"status", "accepted"}}); }

}  // namespace

std::vector<Route> service_routes() {
  return {
      {"GET", "healthz", immediate(healthz)},
      {"POST", "client/config", immediate(client_config)},
      {"POST", "client/dynamic_config", immediate(dynamic_config)},
      {"GET", "get_server_capabilities", immediate(capabilities)},
      {"POST", "create_session", immediate(create_session)},
      {"POST", "session_heartbeat", immediate(session_heartbeat)},
      {"POST", "sessions/{session_id}/finish", immediate(finish_session)},
      {"POST", "telemetry", immediate(telemetry)},
  };
}

}  // namespace tinkex::torch_ext::local
