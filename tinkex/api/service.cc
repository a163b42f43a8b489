#include <algorithm>
#include <string>

#include "tinkex/api/json_body.h"
#include "tinkex/api/messages.h"
#include "tinkex/version.h"

namespace tinkex::api {
namespace {

std::optional<std::size_t> positive(const ReplyJson& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  const auto value = value_or<std::int64_t>(object, key, 0);
  return value > 0 ? std::optional(static_cast<std::size_t>(value)) : std::nullopt;
}

/// Percent-encoded for a URL's path, but for the slashes and the colons of runs' ids.
std::string escaped(std::string_view text) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/";
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (kPlain.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return out;
}

}  // namespace

void append_seq_id(std::int64_t seq_id, ByteBuffer& body) {
  body.append(",\"seq_id\":" + std::to_string(seq_id) + "}");
}

Result<std::string> parse_request_id(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "submission");
  if (!json.ok() || value_or<std::string>(*json, "request_id", "").empty()) return std::string();
  return request_id_of(*json, "submission");
}

Body client_config_request() { return to_body({{"sdk_version", kSdkVersion}}); }

Body cancel_future_request(std::string_view request_id) {
  return to_body({{"request_id", request_id}});
}

ServerConfig parse_client_config(std::string_view body) {
  ServerConfig config;
  const Result<ReplyJson> json = parse_object(body, "client/config");
  if (!json.ok()) return config;  // every key is optional; so is the whole object
  config.max_chunk_examples = positive(*json, "fwdbwd_max_chunk_len");
  config.max_chunk_bytes = positive(*json, "fwdbwd_max_chunk_bytes_count");
  config.max_result_bytes = positive(*json, "inflight_response_bytes_semaphore_size");
  config.parallel_chunks = value_or<bool>(*json, "parallel_fwdbwd_chunks", false);
  config.retrieve_futures = value_or<bool>(*json, "sample_use_retrieve_futures", false);
  return config;
}

std::optional<DynamicConfig> parse_dynamic_config(std::string_view body) {
  DynamicConfig config;
  const Result<ReplyJson> json = parse_object(body, "client/dynamic_config");
  if (!json.ok()) return std::nullopt;
  if (const auto seconds = positive(*json, "refresh_interval_sec")) {
    config.refresh_interval = std::chrono::seconds(std::min<std::size_t>(*seconds, 86'400));
  }
  config.sample_cancel_enabled = value_or<bool>(*json, "sample_cancel_enabled", false);
  return config;
}

Body create_session_request(const ClientOptions& options) {
  Json json{{"tags", options.tags},
            {"user_metadata", Json::object()},
            {"sdk_version", kSdkVersion},
            {"type", "create_session"}};
  for (const auto& [key, value] : options.user_metadata) json["user_metadata"][key] = value;
  if (!options.project_id.empty()) json["project_id"] = options.project_id;
  return to_body(json);
}

Result<std::string> parse_session_id(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "create_session");
  if (!json.ok()) return json.error();
  return string_member(*json, "session_id", "create_session");
}

Body session_request(std::string_view session_id, std::string_view type) {
  return to_body({{"session_id", session_id}, {"type", type}});
}

Body finish_session_request() {
  return to_body({{"reason", {{"type", "success"}}}, {"detail", nullptr}});
}

Result<std::vector<SupportedModel>> parse_supported_models(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "get_server_capabilities");
  if (!json.ok()) return json.error();
  std::vector<SupportedModel> models;
  const auto list = json->find("supported_models");
  if (list == json->end() || !list->is_array()) return models;
  for (const ReplyJson& entry : *list) {
    SupportedModel model;
    if (entry.is_string()) {
      model.model_name = entry.get<std::string>();
    } else if (entry.is_object()) {
      model.model_name = value_or<std::string>(entry, "model_name", "");
      // Some servers say model_id instead.
      if (model.model_name.empty()) model.model_name = value_or<std::string>(entry, "model_id", "");
      const auto length = value_or<std::int64_t>(entry, "max_context_length", 0);
      if (length > 0) model.max_context_length = length;
    }
    if (!model.model_name.empty()) models.push_back(std::move(model));
  }
  return models;
}

Body create_model_request(std::string_view session_id, std::int64_t model_seq_id,
                          std::string_view base_model, const LoraConfig& config) {
  Json lora{{"rank", config.rank}};
  if (config.seed) lora["seed"] = *config.seed;
  lora["train_unembed"] = config.train_unembed;
  lora["train_mlp"] = config.train_mlp;
  lora["train_attn"] = config.train_attn;
  return to_body({{"session_id", session_id},
                  {"model_seq_id", model_seq_id},
                  {"base_model", base_model},
                  {"lora_config", lora},
                  {"type", "create_model"}});
}

Body load_new_model_request(std::string_view session_id, std::int64_t model_seq_id,
                            std::string_view path, bool with_optimizer) {
  return to_body({{"session_id", session_id},
                  {"model_seq_id", model_seq_id},
                  {"path", path},
                  {"optimizer", with_optimizer},
                  {"type", "load_weights"}});
}

Result<std::string> parse_model_id(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "create_model");
  if (!json.ok()) return json.error();
  return string_member(*json, "model_id", "create_model");
}

Body get_info_request(std::string_view model_id) {
  return to_body({{"model_id", model_id}, {"type", "get_info"}});
}

std::string checkpoint_resource(std::string_view path) {
  path.remove_prefix(std::min(std::string_view("tinker://").size(), path.size()));
  const std::size_t slash = std::min(path.find('/'), path.size());
  std::string_view id = path.substr(std::min(slash + 1, path.size()));
  constexpr std::string_view kHatchery = "checkpoints/";
  std::string_view folder;
  if (id.starts_with(kHatchery)) {
    id.remove_prefix(kHatchery.size());  // It takes one segment, the name.
  } else if (id.find('/') == std::string_view::npos) {
    folder = "sampler_weights/";  // SkyRL leaves it out of its paths and asks for it here.
  }
  return "training_runs/" + escaped(path.substr(0, slash)) + "/checkpoints/" + std::string(folder) +
         escaped(id);
}

Body unload_request(std::string_view model_id) {
  return to_body({{"model_id", model_id}, {"type", "unload_model"}});
}

Status parse_unload(std::string_view body) {
  if (body.empty()) return ok_status();
  const Result<ReplyJson> json = parse_object(body, "unload_model");
  if (!json.ok()) return json.error();
  return ok_status();
}

Result<ModelInfo> parse_model_info(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "get_info");
  if (!json.ok()) return json.error();
  ModelInfo info;
  info.model_id = value_or<std::string>(*json, "model_id", "");
  const auto data = json->find("model_data");
  if (data != json->end() && data->is_object()) {
    info.model_name = value_or<std::string>(*data, "model_name", "");
    info.tokenizer_id = value_or<std::string>(*data, "tokenizer_id", "");
    info.arch = value_or<std::string>(*data, "arch", "");
  }
  if (info.model_name.empty()) info.model_name = value_or<std::string>(*json, "model_name", "");
  info.is_lora = value_or<bool>(*json, "is_lora", true);
  const auto rank = value_or<std::int64_t>(*json, "lora_rank", 0);
  if (rank > 0) info.lora_rank = rank;
  return info;
}

}  // namespace tinkex::api
