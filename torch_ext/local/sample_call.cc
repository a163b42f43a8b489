#include "torch_ext/local/sample_call.h"

#include <utility>
#include <vector>

namespace tinkex::torch_ext::local {
namespace {

using nlohmann::json;

EncodedTextChunk read_text(JsonFields& chunk) {
  const json* tokens = chunk.array("tokens");
  std::vector<std::int64_t> ids;
  if (tokens == nullptr) {
    chunk.refuse("tokens", "is required");
    return {};
  }
  ids.reserve(tokens->size());
  for (const json& token : *tokens) {
    if (!token.is_number_integer()) {
      chunk.refuse("tokens[" + std::to_string(ids.size()) + "]", "must be an integer");
      return {};
    }
    ids.push_back(token.get<std::int64_t>());
  }
  return {TensorData::from(std::move(ids))};
}

ModelInput read_prompt(JsonFields& in) {
  ModelInput prompt;
  const json* value = in.object("prompt");
  if (value == nullptr) {
    in.refuse("prompt", "is required");
    return prompt;
  }
  JsonFields fields(*value, "prompt");
  const json* chunks = fields.array("chunks");
  if (chunks == nullptr) fields.refuse("chunks", "is required");
  for (std::size_t i = 0; chunks != nullptr && i < chunks->size(); ++i) {
    JsonFields chunk((*chunks)[i], "prompt.chunks[" + std::to_string(i) + "]");
    const std::string type = chunk.optional_string("type").value_or("encoded_text");
    if (type != "encoded_text") {
      chunk.refuse("type", "'" + type + "' is not offered; this model reads encoded_text only");
    }
    prompt.chunks.emplace_back(read_text(chunk));
    fields.refuse_as(chunk);
  }
  in.refuse_as(fields);
  return prompt;
}

/// One text, one token, or a list of either.
std::vector<SamplingParams::Stop> read_stops(JsonFields& in, const json& value) {
  std::vector<SamplingParams::Stop> stops;
  const auto add = [&](const json& stop) {
    if (stop.is_string()) {
      stops.emplace_back(stop.get<std::string>());
    } else if (stop.is_number_integer()) {
      stops.emplace_back(stop.get<std::int64_t>());
    } else {
      in.refuse("stop", "must be texts or token ids");
    }
  };
  if (value.is_array()) {
    for (const json& stop : value) add(stop);
  } else {
    add(value);
  }
  return stops;
}

SamplingParams read_params(JsonFields& in) {
  SamplingParams params;
  const json* value = in.object("sampling_params");
  if (value == nullptr) return params;
  JsonFields fields(*value, "sampling_params");
  params.max_tokens = fields.optional_integer("max_tokens");
  params.seed = fields.optional_seed("seed");
  params.temperature = fields.number("temperature", params.temperature);
  params.top_k = fields.optional_integer("top_k").value_or(params.top_k);
  params.top_p = fields.number("top_p", params.top_p);
  if (const json* stop = fields.value("stop")) params.stop = read_stops(fields, *stop);
  in.refuse_as(fields);
  return params;
}

/// Newer requests that would silently get less than they ask for.
void refuse_unsupported(JsonFields& in) {
  for (const char* name : {"topk_sample_logprobs", "prompt_alt_tokens_k"}) {
    if (in.optional_integer(name).value_or(0) > 0) in.refuse(name, "is not offered; leave it 0");
  }
  for (const char* name : {"target_prompt_logprobs", "prompt_logprobs_last_n"}) {
    if (in.value(name) != nullptr) in.refuse(name, "is not offered; leave it out");
  }
}

}  // namespace

SampleCall SampleCall::read(JsonFields& in) {
  SampleCall call;
  call.sampling_session_id = in.optional_string("sampling_session_id");
  call.seq_id = in.optional_integer("seq_id");
  call.request.prompt = read_prompt(in);
  call.request.params = read_params(in);
  call.request.num_samples = in.optional_integer("num_samples").value_or(1);
  if (call.request.num_samples < 1 || call.request.num_samples > kMaxSamples) {
    in.refuse("num_samples", "must be from 1 to " + std::to_string(kMaxSamples));
  }
  SampleOptions& options = call.request.options;
  options.topk_prompt_logprobs = in.optional_integer("topk_prompt_logprobs").value_or(0);
  options.prompt_logprobs =
      in.boolean("prompt_logprobs", false) || options.topk_prompt_logprobs > 0;
  refuse_unsupported(in);
  return call;
}

std::string sample_sequence_id(const std::string& request_id, std::size_t i) {
  return request_id + ":" + std::to_string(i);
}

}  // namespace tinkex::torch_ext::local
