#include <string>
#include <utility>

#include "tinkex/api/json_body.h"
#include "tinkex/api/messages.h"
#include "tinkex/wire/codec.h"

namespace tinkex::api {
namespace {

Json stop_json(const std::vector<SamplingParams::Stop>& stops) {
  Json list = Json::array();
  for (const SamplingParams::Stop& stop : stops) {
    std::visit([&list](const auto& value) { list.push_back(value); }, stop);
  }
  return list;
}

Json params_json(const SamplingParams& params) {
  Json json = Json::object();
  if (params.max_tokens) json["max_tokens"] = *params.max_tokens;
  if (params.seed) json["seed"] = *params.seed;
  if (params.stop) json["stop"] = stop_json(*params.stop);
  json["temperature"] = params.temperature;
  json["top_k"] = params.top_k;
  json["top_p"] = params.top_p;
  return json;
}

}  // namespace

Body create_sampling_session_request(std::string_view session_id, std::int64_t seq_id,
                                     const std::optional<std::string>& base_model,
                                     const std::optional<std::string>& model_path) {
  Json json{{"session_id", session_id}, {"sampling_session_seq_id", seq_id}};
  if (base_model) json["base_model"] = *base_model;
  if (model_path) json["model_path"] = *model_path;
  json["type"] = "create_sampling_session";
  return to_body(json);
}

Result<std::string> parse_sampling_session_id(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "create_sampling_session");
  if (!json.ok()) return json.error();
  return string_member(*json, "sampling_session_id", "create_sampling_session");
}

Result<Body> asample_request(const SampleSubmission& sample) {
  Json json{{"sampling_session_id", sample.sampling_session_id},
            {"seq_id", sample.seq_id},
            {"num_samples", sample.num_samples},
            {"sampling_params", params_json(sample.params)},
            {"prompt_logprobs", sample.options.prompt_logprobs},
            {"topk_prompt_logprobs", sample.options.topk_prompt_logprobs},
            {"type", "sample"}};
  Body body = to_open_body(json);
  body->append(",\"prompt\":");
  if (Status status = wire::append_model_input_json(sample.prompt, *body); !status.ok()) {
    return status.error();
  }
  body->push_back('}');
  return body;
}

Result<SampleAccepted> parse_sample_accepted(std::string_view body) {
  const Result<ReplyJson> json = parse_object(body, "sample");
  if (!json.ok()) return json.error();
  SampleAccepted accepted;
  Result<std::string> id = request_id_of(*json, "sample");
  if (!id.ok()) return id.error();
  accepted.request_id = *std::move(id);
  const auto ids = json->find("sample_sequence_ids");
  if (ids != json->end() && ids->is_array()) {
    for (const ReplyJson& entry : *ids) {
      accepted.sequence_ids.push_back(entry.is_string() ? entry.get<std::string>() : "");
    }
  }
  return accepted;
}

}  // namespace tinkex::api
