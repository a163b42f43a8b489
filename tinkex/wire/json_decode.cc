#include <limits>
#include <optional>
#include <utility>

#include "tinkex/base/text.h"
#include "tinkex/wire/base64.h"
#include "tinkex/wire/boundary.h"
#include "tinkex/wire/input_rules.h"
#include "tinkex/wire/json_codec.h"
#include "tinkex/wire/json_reader.h"

namespace tinkex::wire::json {
namespace {

std::string key_label(const std::string& where, const std::string& key) {
  return where + "[" + internal::quoted(key) + "]";
}

std::string index_label(const char* where, std::size_t index) {
  return std::string(where) + "[" + std::to_string(index) + "]";
}

TensorLayout read_layout(const Json& value, const std::string& where) {
  TensorLayout layout;
  if (const Json* shape = find(value, "shape")) {
    layout.shape = read_integers(*shape, where + ".shape");
  }
  const Json* crow = find(value, "sparse_crow_indices");
  const Json* col = find(value, "sparse_col_indices");
  if ((crow == nullptr) != (col == nullptr)) {
    fail_decode(where + ": sparse_crow_indices and sparse_col_indices must come together");
  }
  if (crow != nullptr) {
    layout.sparse = true;
    layout.crow_indices = read_integers(*crow, where + ".sparse_crow_indices");
    layout.col_indices = read_integers(*col, where + ".sparse_col_indices");
  }
  return layout;
}

TensorData read_tensor(const Json& value, const std::string& where) {
  const Json& data = require(value, "data", where);
  const std::string dtype = read_text(require(value, "dtype", where), where + ".dtype");
  TensorLayout layout = read_layout(value, where);
  if (dtype == "float32") {
    return arrange(read_floats(data, where + ".data"), std::move(layout), where);
  }
  if (dtype == "int64") {
    return arrange(read_integers(data, where + ".data"), std::move(layout), where);
  }
  fail_decode(where + ": unknown dtype " + internal::quoted(dtype) + ", expected float32 or int64");
}

std::optional<std::int32_t> read_expected_tokens(const Json& chunk, const std::string& where) {
  const Json* value = find(chunk, "expected_tokens");
  if (value == nullptr) return std::nullopt;
  return read_token(*value, where + ".expected_tokens");
}

ImageChunk read_image(const Json& chunk, const std::string& where) {
  const std::string text = read_text(require(chunk, "data", where), where + ".data");
  std::optional<std::string> bytes = base64_decode(text);
  if (!bytes) fail_decode(where + ".data: not valid base64");
  const Json* format = find(chunk, "format");
  return {*std::move(bytes), format != nullptr ? read_text(*format, where + ".format") : "",
          read_expected_tokens(chunk, where)};
}

ModelInputChunk read_chunk(const Json& chunk, const std::string& where) {
  const std::string type = read_text(require(chunk, "type", where), where + ".type");
  if (type == "encoded_text") {
    const Json& tokens = require(chunk, "tokens", where);
    return EncodedTextChunk{TensorData::from(read_tokens(tokens, where + ".tokens"))};
  }
  if (type == "image") return read_image(chunk, where);
  if (type == "image_asset_pointer") {
    const Json* format = find(chunk, "format");
    return ImageAssetPointerChunk{read_text(require(chunk, "location", where), where + ".location"),
                                  format != nullptr ? read_text(*format, where + ".format") : "",
                                  read_expected_tokens(chunk, where)};
  }
  fail_decode(where + ": unknown chunk type " + internal::quoted(type) +
              ", expected encoded_text, image or image_asset_pointer");
}

NamedTensors read_named_tensors(const Json& object, const std::string& where) {
  NamedTensors tensors;
  for (const auto& [name, value] : expect_object(object, where).items()) {
    set_tensor(tensors, name, read_tensor(value, key_label(where, name)));
  }
  return tensors;
}

Datum read_datum(const Json& value, std::size_t index) {
  const std::string where = index_label("data", index);
  Datum datum;
  const Json& input = require(value, "model_input", where);
  const Json& chunks = require(input, "chunks", where + ".model_input");
  for (const Json& chunk : expect_array(chunks, where + ".model_input.chunks")) {
    const std::string label = chunk_label(index, datum.model_input.chunks.size());
    datum.model_input.chunks.push_back(read_chunk(chunk, label));
  }
  if (const Json* inputs = find(value, "loss_fn_inputs")) {
    datum.loss_fn_inputs = read_named_tensors(*inputs, where + ".loss_fn_inputs");
  }
  return datum;
}

LossConfig read_config(const Json& object) {
  LossConfig config;
  for (const auto& [key, value] : expect_object(object, "loss_fn_config").items()) {
    if (value.is_string()) {
      config[key] = value.get<std::string>();
    } else if (value.is_number()) {
      config[key] = value.get<double>();
    } else {
      fail_decode(key_label("loss_fn_config", key) + ": expected a number or a string, got " +
                  value.type_name());
    }
  }
  return config;
}

StopReason read_stop_reason(const Json& value, const std::string& where) {
  const std::string text = read_text(value, where);
  if (text == "stop") return StopReason::kStop;
  if (text == "length") return StopReason::kLength;
  fail_decode(where + ": unknown value " + internal::quoted(text) + ", expected stop or length");
}

SampledSequence read_sequence(const Json& value, std::size_t index) {
  const std::string where = index_label("sequences", index);
  SampledSequence sequence;
  sequence.tokens = read_tokens(require(value, "tokens", where), where + ".tokens");
  if (const Json* logprobs = find(value, "logprobs")) {
    sequence.logprobs = read_floats(*logprobs, where + ".logprobs");
  }
  sequence.stop_reason =
      read_stop_reason(require(value, "stop_reason", where), where + ".stop_reason");
  if (!sequence.logprobs.empty() && sequence.logprobs.size() != sequence.tokens.size()) {
    fail_decode(where + ": " + std::to_string(sequence.tokens.size()) + " tokens but " +
                std::to_string(sequence.logprobs.size()) + " logprobs");
  }
  return sequence;
}

std::vector<TokenLogprob> read_candidates(const Json& value, const std::string& where) {
  std::vector<TokenLogprob> row;
  if (value.is_null()) return row;
  for (const Json& cell : expect_array(value, where)) {
    const std::vector<double> pair = read_numbers(cell, where);
    if (pair.size() != 2) {
      fail_decode(where + ": a candidate has " + std::to_string(pair.size()) +
                  " parts, expected token and logprob");
    }
    row.emplace_back(read_token(Json(pair[0]), where), static_cast<float>(pair[1]));
  }
  return row;
}

}  // namespace

ForwardBackwardRequest decode_request(std::string_view body, bool forward_only) {
  const Json object = parse_object(body);
  const std::string where = input_key(forward_only);
  const Json& input = require(object, input_key(forward_only), "the body");
  ForwardBackwardRequest request;
  request.forward_only = forward_only;
  request.model_id = read_text(require(object, "model_id", "the body"), "model_id");
  if (const Json* seq_id = find(object, "seq_id")) request.seq_id = read_integer(*seq_id, "seq_id");
  request.loss_fn = read_text(require(input, "loss_fn", where), "loss_fn");
  if (const Json* config = find(input, "loss_fn_config")) {
    request.loss_fn_config = read_config(*config);
  }
  for (const Json& datum : expect_array(require(input, "data", where), "data")) {
    request.data.push_back(read_datum(datum, request.data.size()));
  }
  return request;
}

ForwardBackwardOutput decode_output(std::string_view body) {
  const Json object = parse_object(body);
  ForwardBackwardOutput output;
  if (const Json* type = find(object, "loss_fn_output_type")) {
    output.loss_fn_output_type = read_text(*type, "loss_fn_output_type");
  }
  const Json& outputs = require(object, "loss_fn_outputs", "the body");
  for (const Json& datum : expect_array(outputs, "loss_fn_outputs")) {
    const std::string where = index_label("loss_fn_outputs", output.loss_fn_outputs.size());
    output.loss_fn_outputs.push_back(read_named_tensors(datum, where));
  }
  if (const Json* metrics = find(object, "metrics")) {
    for (const auto& [name, value] : expect_object(*metrics, "metrics").items()) {
      output.metrics[name] = read_number(value, key_label("metrics", name));
    }
  }
  return output;
}

SampleResponse decode_sample_response(std::string_view body) {
  const Json object = parse_object(body);
  SampleResponse response;
  const Json& sequences = require(object, "sequences", "the body");
  for (const Json& sequence : expect_array(sequences, "sequences")) {
    response.sequences.push_back(read_sequence(sequence, response.sequences.size()));
  }
  if (const Json* logprobs = find(object, "prompt_logprobs")) {
    response.prompt_logprobs = read_floats(*logprobs, "prompt_logprobs");
  }
  if (const Json* rows = find(object, "topk_prompt_logprobs")) {
    for (const Json& row : expect_array(*rows, "topk_prompt_logprobs")) {
      const std::size_t index = response.topk_prompt_logprobs.size();
      response.topk_prompt_logprobs.push_back(
          read_candidates(row, index_label("topk_prompt_logprobs", index)));
    }
  }
  if (const Json* hits = find(object, "prompt_cache_hit_tokens")) {
    response.prompt_cache_hit_tokens = read_integer(*hits, "prompt_cache_hit_tokens");
  }
  return response;
}

}  // namespace tinkex::wire::json
