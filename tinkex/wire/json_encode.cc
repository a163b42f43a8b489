#include <cmath>
#include <string>
#include <variant>

#include "tinkex/base/text.h"
#include "tinkex/wire/base64.h"
#include "tinkex/wire/input_rules.h"
#include "tinkex/wire/json_codec.h"
#include "tinkex/wire/json_writer.h"

namespace tinkex::wire::json {
namespace {

/// Writes a comma before every element but the first.
class Separator {
 public:
  explicit Separator(ByteBuffer& body) : body_(body) {}
  void next() {
    if (!first_) body_.push_back(',');
    first_ = false;
  }

 private:
  ByteBuffer& body_;
  bool first_ = true;
};

void write_key(std::string_view key, ByteBuffer& body) {
  write_string(key, body);
  body.push_back(':');
}

void write_image_fields(std::string_view format, std::optional<std::int32_t> expected_tokens,
                        ByteBuffer& body) {
  body.append(",\"format\":");
  write_string(format, body);
  if (expected_tokens) {
    body.append(",\"expected_tokens\":");
    write_number(std::int64_t{*expected_tokens}, body);
  }
  body.push_back('}');
}

void write_chunk(const ModelInputChunk& chunk, std::size_t datum, std::size_t index,
                 ByteBuffer& body) {
  if (const auto* text = std::get_if<EncodedTextChunk>(&chunk)) {
    body.append("{\"type\":\"encoded_text\",\"tokens\":");
    if (!write_tokens(text->tokens, body)) fail_bad_token(text->tokens, datum, index);
    body.push_back('}');
  } else if (const auto* image = std::get_if<ImageChunk>(&chunk)) {
    body.append("{\"type\":\"image\",\"data\":\"");
    base64_encode(image->data, body.extend(base64_size(image->data.size())));
    body.push_back('"');
    write_image_fields(image->format, image->expected_tokens, body);
  } else if (const auto* pointer = std::get_if<ImageAssetPointerChunk>(&chunk)) {
    body.append("{\"type\":\"image_asset_pointer\",\"location\":");
    write_string(pointer->location, body);
    write_image_fields(pointer->format, pointer->expected_tokens, body);
  }
}

void write_model_input(const ModelInput& input, std::size_t datum, ByteBuffer& body) {
  body.append("{\"chunks\":[");
  Separator chunks(body);
  for (std::size_t i = 0; i < input.chunks.size(); ++i) {
    chunks.next();
    write_chunk(input.chunks[i], datum, i, body);
  }
  body.append("]}");
}

void write_datum(const Datum& datum, std::size_t index, ByteBuffer& body) {
  body.append("{\"model_input\":");
  write_model_input(datum.model_input, index, body);
  body.append(",\"loss_fn_inputs\":{");
  Separator inputs(body);
  for (const auto& [name, tensor] : datum.loss_fn_inputs) {
    inputs.next();
    write_key(name, body);
    write_tensor(tensor, wire_dtype(name, tensor), body);
  }
  body.append("}}");
}

void write_config(const LossConfig& config, ByteBuffer& body) {
  body.push_back('{');
  Separator entries(body);
  for (const auto& [key, value] : config) {
    entries.next();
    write_key(key, body);
    if (const auto* text = std::get_if<std::string>(&value)) {
      write_string(*text, body);
      continue;
    }
    const double number = std::get<double>(value);
    if (!std::isfinite(number)) {
      throw invalid_argument("loss_fn_config[" + internal::quoted(key) + "] is " +
                             std::to_string(number) +
                             ", which JSON cannot express; pass a finite number");
    }
    write_number(number, body);
  }
  body.push_back('}');
}

void write_named_tensors(const NamedTensors& tensors, ByteBuffer& body) {
  body.push_back('{');
  Separator entries(body);
  for (const auto& [name, tensor] : tensors) {
    entries.next();
    write_key(name, body);
    write_tensor(tensor, wire_dtype(tensor), body);
  }
  body.push_back('}');
}

void write_sequence(const SampledSequence& sequence, ByteBuffer& body) {
  body.append("{\"tokens\":");
  write_ints(std::span<const std::int32_t>(sequence.tokens), body);
  if (!sequence.logprobs.empty()) {
    body.append(",\"logprobs\":");
    write_floats(std::span<const float>(sequence.logprobs), body);
  }
  body.append(sequence.stop_reason == StopReason::kStop ? ",\"stop_reason\":\"stop\"}"
                                                        : ",\"stop_reason\":\"length\"}");
}

void write_candidates(const std::vector<TokenLogprob>& row, ByteBuffer& body) {
  if (row.empty()) return body.append("null");
  body.push_back('[');
  Separator cells(body);
  for (const auto& [token, logprob] : row) {
    cells.next();
    body.push_back('[');
    write_number(std::int64_t{token}, body);
    body.push_back(',');
    write_number(logprob, body);
    body.push_back(']');
  }
  body.push_back(']');
}

}  // namespace

void append_model_input(const ModelInput& input, ByteBuffer& body) {
  check_prompt(input);
  write_model_input(input, 0, body);
}

void encode_request(const ForwardBackwardInput& input, ByteBuffer& body) {
  check_request(input);
  body.append("{\"model_id\":");
  write_string(input.model_id, body);
  body.push_back(',');
  write_key(input_key(input.forward_only), body);
  body.append("{\"loss_fn\":");
  write_string(input.loss_fn, body);
  if (!input.loss_fn_config.empty()) {
    body.append(",\"loss_fn_config\":");
    write_config(input.loss_fn_config, body);
  }
  body.append(",\"data\":[");
  Separator data(body);
  for (std::size_t i = 0; i < input.data.size(); ++i) {
    data.next();
    write_datum(input.data[i], i, body);
  }
  body.append("]}");
}

void encode_output(const ForwardBackwardOutput& output, ByteBuffer& body) {
  check_output(output);
  body.append("{\"loss_fn_output_type\":");
  write_string(output.loss_fn_output_type, body);
  body.append(",\"loss_fn_outputs\":[");
  Separator outputs(body);
  for (const NamedTensors& datum : output.loss_fn_outputs) {
    outputs.next();
    write_named_tensors(datum, body);
  }
  body.append("],\"metrics\":{");
  Separator metrics(body);
  for (const auto& [name, value] : output.metrics) {
    metrics.next();
    write_key(name, body);
    write_number(value, body);
  }
  body.append("}}");
}

void encode_sample_response(const SampleResponse& response, ByteBuffer& body) {
  check_sample_response(response);
  body.append("{\"type\":\"sample\",\"sequences\":[");
  Separator sequences(body);
  for (const SampledSequence& sequence : response.sequences) {
    sequences.next();
    write_sequence(sequence, body);
  }
  body.push_back(']');
  if (!response.prompt_logprobs.empty()) {
    body.append(",\"prompt_logprobs\":");
    write_floats(std::span<const float>(response.prompt_logprobs), body);
  }
  if (!response.topk_prompt_logprobs.empty()) {
    body.append(",\"topk_prompt_logprobs\":[");
    Separator rows(body);
    for (const auto& row : response.topk_prompt_logprobs) {
      rows.next();
      write_candidates(row, body);
    }
    body.push_back(']');
  }
  body.append(",\"prompt_cache_hit_tokens\":");
  write_number(response.prompt_cache_hit_tokens, body);
  body.push_back('}');
}

}  // namespace tinkex::wire::json
