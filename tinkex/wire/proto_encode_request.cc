#include <algorithm>
#include <string>
#include <variant>

#include "tinkex/base/prefetch.h"
#include "tinkex/wire/input_rules.h"
#include "tinkex/wire/pack.h"
#include "tinkex/wire/proto_codec.h"
#include "tinkex/wire/proto_schema.h"
#include "tinkex/wire/proto_writer.h"

namespace tinkex::wire::proto {
namespace {

// First pass: content sizes. Each is cheap, as an array's size follows from its length, so the
// nested ones are simply computed again where they are written.

std::size_t text_size(const EncodedTextChunk& text) {
  return optional_bytes_size(text.tokens.size() * sizeof(std::int32_t));
}

std::size_t image_size(const ImageChunk& image) {
  const std::size_t expected_tokens =
      image.expected_tokens ? integer_field_size(static_cast<std::uint64_t>(*image.expected_tokens))
                            : 0;
  return optional_bytes_size(image.data.size()) + optional_bytes_size(image.format.size()) +
         expected_tokens;
}

// Pointers to images have no protobuf form; write_chunk refuses them.
std::size_t chunk_size(const ModelInputChunk& chunk) {
  if (const auto* text = std::get_if<EncodedTextChunk>(&chunk)) {
    return bytes_field_size(text_size(*text));
  }
  const auto* image = std::get_if<ImageChunk>(&chunk);
  return image != nullptr ? bytes_field_size(image_size(*image)) : 0;
}

std::size_t values_size(const TensorData& tensor, DType wire) {
  return tensor.size() * size_of(wire);
}

std::size_t sparse_size(const TensorData& tensor, DType wire) {
  return bytes_field_size(values_size(tensor, wire)) +
         bytes_field_size(tensor.crow_indices().size_bytes()) +
         bytes_field_size(tensor.col_indices().size_bytes());
}

std::size_t tensor_size(const TensorData& tensor, DType wire) {
  const std::size_t content =
      tensor.is_sparse() ? sparse_size(tensor, wire) : values_size(tensor, wire);
  const std::size_t shape =
      tensor.shape().empty() ? 0 : bytes_field_size(packed_size(tensor.shape()));
  return bytes_field_size(content) + integer_field_size(dtype_code(wire)) + shape;
}

std::size_t input_size(const std::string& name, const TensorData& tensor) {
  return bytes_field_size(name.size()) +
         bytes_field_size(tensor_size(tensor, wire_dtype(name, tensor)));
}

std::size_t datum_size(const Datum& datum) {
  std::size_t size = 0;
  for (const ModelInputChunk& chunk : datum.model_input.chunks) {
    size += bytes_field_size(chunk_size(chunk));
  }
  for (const auto& [name, tensor] : datum.loss_fn_inputs) {
    size += bytes_field_size(input_size(name, tensor));
  }
  return size;
}

std::size_t number_entry_size(const std::string& key) {
  return bytes_field_size(key.size()) + kDoubleFieldSize;
}

std::size_t config_value_size(const LossConfigValue& value) {
  const auto* text = std::get_if<std::string>(&value);
  return text != nullptr ? bytes_field_size(text->size()) : kDoubleFieldSize;
}

std::size_t value_entry_size(const std::string& key, const LossConfigValue& value) {
  return bytes_field_size(key.size()) + bytes_field_size(config_value_size(value));
}

// The second map is newer than the first. Older servers refuse fields that they do not know, so it
// travels only when it is needed: when there is a text.
bool needs_second_map(const LossConfig& config) {
  return std::any_of(config.begin(), config.end(), [](const auto& entry) {
    return std::holds_alternative<std::string>(entry.second);
  });
}

std::size_t config_size(const LossConfig& config) {
  const bool second_map = needs_second_map(config);
  std::size_t size = 0;
  for (const auto& [key, value] : config) {
    if (std::holds_alternative<double>(value)) size += bytes_field_size(number_entry_size(key));
    if (second_map) size += bytes_field_size(value_entry_size(key, value));
  }
  return size;
}

std::size_t request_size(const ForwardBackwardInput& input) {
  std::size_t size = optional_bytes_size(input.model_id.size()) +
                     optional_bytes_size(input.loss_fn.size()) + config_size(input.loss_fn_config);
  for (const Datum& datum : input.data) size += bytes_field_size(datum_size(datum));
  return size + (input.forward_only ? integer_field_size(1) : 0);
}

// Second pass: bytes.

void write_text(const EncodedTextChunk& text, std::size_t datum, std::size_t index, Writer& out) {
  out.open(chunk::kEncodedText, text_size(text));
  if (text.tokens.size() == 0) return;
  const std::size_t length = text.tokens.size() * sizeof(std::int32_t);
  out.open(encoded_text::kTokens, length);
  if (!pack_tokens(text.tokens, out.skip(length))) fail_bad_token(text.tokens, datum, index);
}

void write_image(const ImageChunk& image, Writer& out) {
  out.open(chunk::kImage, image_size(image));
  out.optional_bytes(image::kData, image.data);
  out.optional_bytes(image::kFormat, image.format);
  if (image.expected_tokens) {
    out.integer(image::kExpectedTokens, static_cast<std::uint64_t>(*image.expected_tokens));
  }
}

void write_chunk(const ModelInputChunk& chunk, std::size_t datum, std::size_t index, Writer& out) {
  out.open(datum::kModelInput, chunk_size(chunk));
  if (const auto* text = std::get_if<EncodedTextChunk>(&chunk)) {
    write_text(*text, datum, index, out);
  } else if (const auto* image = std::get_if<ImageChunk>(&chunk)) {
    write_image(*image, out);
  } else {
    throw invalid_argument(chunk_label(datum, index) +
                           ": an image_asset_pointer cannot be sent as protobuf; pass the image's "
                           "bytes, or choose WireFormat::kJson");
  }
}

void write_values(std::uint32_t field, const TensorData& tensor, DType wire, Writer& out) {
  const std::size_t length = values_size(tensor, wire);
  out.open(field, length);
  pack(tensor, wire, out.skip(length));
}

void write_input(const std::string& name, const TensorData& tensor, Writer& out) {
  const DType wire = wire_dtype(name, tensor);
  out.open(datum::kLossFnInputs, input_size(name, tensor));
  out.bytes(entry::kKey, name);
  out.open(entry::kValue, tensor_size(tensor, wire));
  if (tensor.is_sparse()) {
    out.open(tensor::kSparseCsr, sparse_size(tensor, wire));
    write_values(sparse_csr::kValues, tensor, wire, out);
    out.bytes(sparse_csr::kCrowIndices, as_bytes(tensor.crow_indices()));
    out.bytes(sparse_csr::kColIndices, as_bytes(tensor.col_indices()));
  } else {
    write_values(tensor::kDense, tensor, wire, out);
  }
  out.integer(tensor::kDType, dtype_code(wire));
  if (!tensor.shape().empty()) out.packed(tensor::kShape, tensor.shape());
}

/// The arrays of a batch lie apart in memory: asking for those of the next datum while this one is
/// written halves the wait for them. Of long ones only the beginning: the processor asks for the
/// rest itself.
void prefetch(const TensorData& tensor) noexcept {
  internal::prefetch(tensor.data(), std::min(tensor.size_bytes(), internal::kPageBytes));
}

void prefetch(const Datum& datum) noexcept {
  for (const ModelInputChunk& chunk : datum.model_input.chunks) {
    if (const auto* text = std::get_if<EncodedTextChunk>(&chunk)) prefetch(text->tokens);
  }
  for (const auto& [name, tensor] : datum.loss_fn_inputs) prefetch(tensor);
}

void write_datum(const Datum& datum, std::size_t index, Writer& out) {
  out.open(request::kData, datum_size(datum));
  for (std::size_t i = 0; i < datum.model_input.chunks.size(); ++i) {
    write_chunk(datum.model_input.chunks[i], index, i, out);
  }
  for (const auto& [name, tensor] : datum.loss_fn_inputs) write_input(name, tensor, out);
}

void write_config_value(const std::string& key, const LossConfigValue& value, Writer& out) {
  out.open(request::kLossFnConfigV2, value_entry_size(key, value));
  out.bytes(entry::kKey, key);
  out.open(entry::kValue, config_value_size(value));
  if (const auto* text = std::get_if<std::string>(&value)) {
    out.bytes(config_value::kText, *text);
  } else {
    out.real(config_value::kNumber, std::get<double>(value));
  }
}

void write_config(const LossConfig& config, Writer& out) {
  const bool second_map = needs_second_map(config);
  for (const auto& [key, value] : config) {
    if (const auto* number = std::get_if<double>(&value)) {
      out.open(request::kLossFnConfig, number_entry_size(key));
      out.bytes(entry::kKey, key);
      out.real(entry::kValue, *number);
    }
    if (second_map) write_config_value(key, value, out);
  }
}

}  // namespace

void encode_request(const ForwardBackwardInput& input, ByteBuffer& body) {
  check_request(input);
  Writer out(begin_message(request_size(input), body));
  out.optional_bytes(request::kModelId, input.model_id);
  for (std::size_t i = 0; i < input.data.size(); ++i) {
    if (i + 1 < input.data.size()) prefetch(input.data[i + 1]);
    write_datum(input.data[i], i, out);
  }
  out.optional_bytes(request::kLossFn, input.loss_fn);
  write_config(input.loss_fn_config, out);
  if (input.forward_only) out.integer(request::kForwardOnly, 1);
}

}  // namespace tinkex::wire::proto
