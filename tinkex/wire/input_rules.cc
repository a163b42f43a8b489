#include "tinkex/wire/input_rules.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <utility>

#include "tinkex/base/shape.h"
#include "tinkex/base/text.h"
#include "tinkex/wire/boundary.h"
#include "tinkex/wire/pack.h"

namespace tinkex::wire {
namespace {

using internal::shape_text;

constexpr std::string_view kTargetTokens = "target_tokens";
constexpr std::array<std::string_view, 6> kFloatInputs = {"weights",
                                                          "advantages",
                                                          "logprobs",
                                                          "clip_low_threshold",
                                                          "clip_high_threshold",
                                                          "sequence_ratio_mask"};

// `what` and `where` name a value for an error. They are functions, because a batch has thousands
// of values and the names of sound ones are never needed.

template <class What>
void check_text(std::string_view text, const What& what) {
  if (!internal::is_utf8(text))
    throw invalid_argument(what() + " is not valid UTF-8: " + internal::quoted(text));
}

void check_text(std::string_view text, const char* what) {
  check_text(text, [what] { return std::string(what); });
}

template <class Where>
void check_shape(const TensorData& tensor, const Where& where) {
  const std::size_t dimensions = tensor.shape().size();
  if (dimensions > kMaxDimensions) {
    throw invalid_argument(where() + " has " + std::to_string(dimensions) +
                           " dimensions, at most " + std::to_string(kMaxDimensions) +
                           " are supported; flatten it");
  }
  for (const std::int64_t extent : tensor.shape()) {
    if (extent < 0) {
      throw invalid_argument(where() + " has shape " + shape_text(tensor.shape()) +
                             "; no extent may be negative");
    }
  }
}

template <class Where>
void check_names(const NamedTensors& tensors, const Where& where) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::string& name = tensors[i].first;
    check_text(name, [&where] { return "a name in " + where(); });
    for (std::size_t j = 0; j < i; ++j) {
      if (tensors[j].first == name) {
        throw invalid_argument(where() + " holds " + internal::quoted(name) +
                               " twice; names must be unique");
      }
    }
  }
}

template <class Where>
void check_tokens(const TensorData& tokens, const Where& where) {
  if (is_floating_point(tokens.dtype())) {
    throw invalid_argument(where() + ": tokens are " + std::string(to_string(tokens.dtype())) +
                           ", expected integers; convert them to int64");
  }
  if (tokens.is_sparse() || tokens.shape().size() != 1) {
    throw invalid_argument(where() + ": tokens have shape " + shape_text(tokens.shape()) +
                           ", expected one dense dimension; flatten them");
  }
  check_shape(tokens, where);
}

template <class Where>
void check_image(std::string_view format, std::optional<std::int32_t> expected_tokens,
                 const Where& where) {
  check_text(format, [&where] { return where() + ".format"; });
  if (expected_tokens && *expected_tokens < 0) {
    throw invalid_argument(where() + ".expected_tokens is " + std::to_string(*expected_tokens) +
                           ", expected 0 or more; leave it out if unknown");
  }
}

template <class Where>
void check_chunk(const ModelInputChunk& chunk, const Where& where) {
  if (const auto* text = std::get_if<EncodedTextChunk>(&chunk)) {
    check_tokens(text->tokens, where);
  } else if (const auto* image = std::get_if<ImageChunk>(&chunk)) {
    check_image(image->format, image->expected_tokens, where);
  } else if (const auto* pointer = std::get_if<ImageAssetPointerChunk>(&chunk)) {
    check_text(pointer->location, [&where] { return where() + ".location"; });
    check_image(pointer->format, pointer->expected_tokens, where);
  }
}

void check_datum(const Datum& datum, std::size_t index) {
  for (std::size_t i = 0; i < datum.model_input.chunks.size(); ++i) {
    check_chunk(datum.model_input.chunks[i], [=] { return chunk_label(index, i); });
  }
  check_names(datum.loss_fn_inputs,
              [index] { return "data[" + std::to_string(index) + "].loss_fn_inputs"; });
  for (const auto& input : datum.loss_fn_inputs) {
    const TensorData& tensor = input.second;
    const auto label = [&] { return loss_input_label(index, input.first); };
    check_shape(tensor, label);
    if (input.first == kTargetTokens && is_floating_point(tensor.dtype())) {
      throw invalid_argument(label() + " is " + std::string(to_string(tensor.dtype())) +
                             ", expected integers; convert it to int64");
    }
  }
}

std::set<std::string_view> names_of(const NamedTensors& tensors) {
  std::set<std::string_view> names;
  for (const auto& [name, tensor] : tensors) names.insert(name);
  return names;
}

// The elements must fill the shape exactly; the message says what either side holds.
void check_fills(std::size_t values, const TensorLayout& layout, const std::string& where) {
  const std::optional<std::size_t> count = element_count(layout.shape);
  if (!count) fail_decode(where + ": impossible shape " + shape_text(layout.shape));
  if (!layout.sparse && *count != values) {
    fail_decode(where + ": shape " + shape_text(layout.shape) + " has " + std::to_string(*count) +
                " elements but the data holds " + std::to_string(values));
  }
}

template <class T>
TensorData arrange_values(std::vector<T> values, TensorLayout layout, const std::string& where) {
  if (layout.sparse && layout.shape.size() != 2) {
    fail_decode(where + ": a sparse tensor needs a shape of 2 dimensions, got " +
                shape_text(layout.shape));
  }
  if (layout.shape.empty()) layout.shape = {static_cast<std::int64_t>(values.size())};
  check_fills(values.size(), layout, where);
  if (!layout.sparse) return TensorData::from(std::move(values), layout.shape);
  if (layout.crow_indices.size() != static_cast<std::size_t>(layout.shape[0]) + 1) {
    fail_decode(where + ": sparse tensor of shape " + shape_text(layout.shape) + " with " +
                std::to_string(layout.crow_indices.size()) + " crow_indices, expected rows + 1");
  }
  Result<TensorData> sparse =
      TensorData::sparse_csr(TensorData::from(std::move(values)), std::move(layout.crow_indices),
                             std::move(layout.col_indices), layout.shape);
  if (!sparse) fail_decode(where + ": " + sparse.error().message());
  return std::move(sparse).value();
}

}  // namespace

DType wire_dtype(const TensorData& tensor) noexcept {
  return is_floating_point(tensor.dtype()) ? DType::kFloat32 : DType::kInt64;
}

DType wire_dtype(std::string_view loss_input, const TensorData& tensor) noexcept {
  const bool is_float =
      std::find(kFloatInputs.begin(), kFloatInputs.end(), loss_input) != kFloatInputs.end();
  return is_float ? DType::kFloat32 : wire_dtype(tensor);
}

std::string loss_input_label(std::size_t datum, std::string_view name) {
  return "data[" + std::to_string(datum) + "].loss_fn_inputs[" + internal::quoted(name) + "]";
}

std::string chunk_label(std::size_t datum, std::size_t chunk) {
  return "data[" + std::to_string(datum) + "].model_input.chunks[" + std::to_string(chunk) + "]";
}

void check_prompt(const ModelInput& prompt) {
  for (std::size_t i = 0; i < prompt.chunks.size(); ++i) {
    const auto where = [i] { return "prompt.chunks[" + std::to_string(i) + "]"; };
    check_chunk(prompt.chunks[i], where);
    const auto* text = std::get_if<EncodedTextChunk>(&prompt.chunks[i]);
    if (text == nullptr) continue;
    if (const auto bad = find_bad_token(text->tokens)) {
      throw invalid_argument(where() + ": token " + std::to_string(bad->value) + " at position " +
                             std::to_string(bad->position) + " is outside [0, 2147483648)");
    }
  }
}

void check_request(const ForwardBackwardInput& input) {
  check_text(input.model_id, "model_id");
  check_text(input.loss_fn, "loss_fn");
  for (const auto& entry : input.loss_fn_config) {
    check_text(entry.first, "a key of loss_fn_config");
    if (const auto* text = std::get_if<std::string>(&entry.second)) {
      check_text(*text, [&] { return "loss_fn_config[" + internal::quoted(entry.first) + "]"; });
    }
  }
  for (std::size_t i = 0; i < input.data.size(); ++i) check_datum(input.data[i], i);
}

void check_output(const ForwardBackwardOutput& output) {
  check_text(output.loss_fn_output_type, "loss_fn_output_type");
  for (const auto& [name, value] : output.metrics) check_text(name, "a name in metrics");
  for (std::size_t i = 0; i < output.loss_fn_outputs.size(); ++i) {
    const NamedTensors& fields = output.loss_fn_outputs[i];
    const auto where = [i] { return "loss_fn_outputs[" + std::to_string(i) + "]"; };
    check_names(fields, where);
    // Readers join the columns of all records, so a gap in one would shift the rest.
    if (i > 0 && names_of(fields) != names_of(output.loss_fn_outputs[0])) {
      throw invalid_argument(where() + " holds other names than loss_fn_outputs[0]; " +
                             "every datum must have the same outputs");
    }
    for (const auto& field : fields) {
      const auto label = [&] { return where() + "[" + internal::quoted(field.first) + "]"; };
      check_shape(field.second, label);
      if (field.second.is_sparse()) {
        throw invalid_argument(label() + " is sparse; outputs must be dense");
      }
    }
  }
}

void check_sample_response(const SampleResponse& response) {
  for (std::size_t i = 0; i < response.sequences.size(); ++i) {
    const SampledSequence& sequence = response.sequences[i];
    if (!sequence.logprobs.empty() && sequence.logprobs.size() != sequence.tokens.size()) {
      throw invalid_argument("sequences[" + std::to_string(i) + "] has " +
                             std::to_string(sequence.tokens.size()) + " tokens but " +
                             std::to_string(sequence.logprobs.size()) +
                             " logprobs; expected one per token, or none");
    }
  }
  if (response.prompt_cache_hit_tokens < 0 ||
      response.prompt_cache_hit_tokens > std::numeric_limits<std::int32_t>::max()) {
    throw invalid_argument("prompt_cache_hit_tokens is " +
                           std::to_string(response.prompt_cache_hit_tokens) +
                           ", expected a count below 2^31");
  }
}

void fail_bad_token(const TensorData& tokens, std::size_t datum, std::size_t chunk) {
  const std::optional<BadToken> bad = find_bad_token(tokens);
  throw invalid_argument(chunk_label(datum, chunk) + ": token " +
                         std::to_string(bad ? bad->value : 0) + " at position " +
                         std::to_string(bad ? bad->position : 0) +
                         " is outside [0, 2^31); pass ids of the model's own tokenizer");
}

std::optional<std::size_t> element_count(Shape shape) noexcept {
  if (shape.size() > kMaxDimensions) return std::nullopt;
  return internal::element_count(shape);
}

TensorData arrange(std::vector<float> values, TensorLayout layout, const std::string& where) {
  return arrange_values(std::move(values), std::move(layout), where);
}

TensorData arrange(std::vector<std::int64_t> values, TensorLayout layout,
                   const std::string& where) {
  return arrange_values(std::move(values), std::move(layout), where);
}

void set_tensor(NamedTensors& tensors, std::string name, TensorData tensor) {
  for (auto& [key, value] : tensors) {
    if (key == name) {
      value = std::move(tensor);
      return;
    }
  }
  if (tensors.size() == kMaxNamedTensors) {
    fail_decode("a datum has more than " + std::to_string(kMaxNamedTensors) + " named tensors");
  }
  tensors.emplace_back(std::move(name), std::move(tensor));
}

}  // namespace tinkex::wire
