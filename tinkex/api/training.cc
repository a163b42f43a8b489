#include <string>

#include "tinkex/api/json_body.h"
#include "tinkex/api/messages.h"

namespace tinkex::api {

Body optim_step_request(std::string_view model_id, const AdamParams& params) {
  return to_open_body({{"model_id", model_id},
                       {"type", "optim_step"},
                       {"adam_params",
                        {{"learning_rate", params.learning_rate},
                         {"beta1", params.beta1},
                         {"beta2", params.beta2},
                         {"eps", params.eps},
                         {"weight_decay", params.weight_decay},
                         {"grad_clip_norm", params.grad_clip_norm}}}});
}

Result<OptimStepResponse> parse_optim_step(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "optim_step");
  if (!json.ok()) return json.error();
  OptimStepResponse response;
  const auto metrics = json->find("metrics");
  if (metrics != json->end() && metrics->is_object()) {
    for (const auto& [name, value] : metrics->items()) {
      if (value.is_number()) response.metrics[name] = value.get<double>();
    }
  }
  return response;
}

Body save_weights_request(std::string_view model_id, std::string_view name, bool overwrite) {
  Json json{{"model_id", model_id}, {"path", name}, {"type", "save_weights"}};
  // Servers of older schemas refuse a field that they do not know.
  if (overwrite) json["overwrite"] = true;
  return to_open_body(json);
}

Result<SaveWeightsResponse> parse_save_weights(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "save_weights");
  if (!json.ok()) return json.error();
  Result<std::string> path = string_member(*json, "path", "save_weights");
  if (!path.ok()) return path.error();
  return SaveWeightsResponse{*std::move(path)};
}

Body load_weights_request(std::string_view model_id, std::string_view path, bool with_optimizer) {
  return to_open_body({{"model_id", model_id},
                       {"path", path},
                       {"optimizer", with_optimizer},
                       {"type", "load_weights"}});
}

Result<LoadWeightsResponse> parse_load_weights(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "load_weights");
  if (!json.ok()) return json.error();
  return LoadWeightsResponse{.path = value_or<std::string>(*json, "path", ""),
                             .model_id = value_or<std::string>(*json, "model_id", "")};
}

Body save_weights_for_sampler_request(std::string_view model_id, std::string_view name,
                                      std::int64_t sampling_session_seq_id) {
  Json json{{"model_id", model_id}};
  if (name.empty()) {
    json["sampling_session_seq_id"] = sampling_session_seq_id;
  } else {
    json["path"] = name;
  }
  json["type"] = "save_weights_for_sampler";
  return to_open_body(json);
}

Result<SaveWeightsForSamplerResponse> parse_save_weights_for_sampler(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "save_weights_for_sampler");
  if (!json.ok()) return json.error();
  SaveWeightsForSamplerResponse response;
  const auto text = [&json](const char* key) -> std::optional<std::string> {
    const auto value = value_or<std::string>(*json, key, "");
    return value.empty() ? std::nullopt : std::optional(value);
  };
  response.path = text("path");
  response.sampling_session_id = text("sampling_session_id");
  if (!response.path && !response.sampling_session_id) {
    return Error(ErrorCode::kDecode,
                 "save_weights_for_sampler: the reply has neither a path nor a sampling session");
  }
  return response;
}

Body weights_info_request(std::string_view path) { return to_body({{"tinker_path", path}}); }

Result<WeightsInfo> parse_weights_info(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "weights_info");
  if (!json.ok()) return json.error();
  WeightsInfo info;
  Result<std::string> base_model = string_member(*json, "base_model", "weights_info");
  if (!base_model.ok()) return base_model.error();
  info.base_model = *std::move(base_model);
  info.lora.rank = value_or<std::int64_t>(*json, "lora_rank", info.lora.rank);
  info.lora.train_unembed = value_or<bool>(*json, "train_unembed", true);
  info.lora.train_mlp = value_or<bool>(*json, "train_mlp", true);
  info.lora.train_attn = value_or<bool>(*json, "train_attn", true);
  return info;
}

}  // namespace tinkex::api
