#include <algorithm>
#include <optional>
#include <utility>

#include "tinkex/wire/boundary.h"
#include "tinkex/wire/input_rules.h"
#include "tinkex/wire/proto_codec.h"
#include "tinkex/wire/proto_reader.h"
#include "tinkex/wire/proto_schema.h"

namespace tinkex::wire::proto {
namespace {

EncodedTextChunk read_text_chunk(Reader fields, const std::string& where) {
  std::vector<std::int32_t> tokens;
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(encoded_text::kTokens):
        tokens = unpack<std::int32_t>(read_bytes(fields), where);
        break;
      default: fields.skip();
    }
  }
  const auto negative = std::find_if(tokens.begin(), tokens.end(), [](auto t) { return t < 0; });
  if (negative != tokens.end()) {
    fail_decode(where + ": token " + std::to_string(*negative) + " at position " +
                std::to_string(negative - tokens.begin()) + " is negative");
  }
  return {TensorData::from(std::move(tokens))};
}

ImageChunk read_image(Reader fields, const std::string& where) {
  ImageChunk image;
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(image::kData): image.data = std::string(read_bytes(fields)); break;
      case bytes_field(image::kFormat): image.format = read_text(fields); break;
      case varint_field(image::kExpectedTokens): image.expected_tokens = fields.get_int32(); break;
      default: fields.skip();
    }
  }
  if (image.expected_tokens && *image.expected_tokens < 0) {
    fail_decode(where + ": expected_tokens is negative");
  }
  return image;
}

ModelInputChunk read_chunk(Reader fields, const std::string& where) {
  std::optional<ModelInputChunk> chunk;
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(chunk::kEncodedText):
        chunk = read_text_chunk(fields.get_message(), where);
        break;
      case bytes_field(chunk::kImage): chunk = read_image(fields.get_message(), where); break;
      case bytes_field(chunk::kDmel): fail_decode(where + ": dmel input is not supported");
      default: fields.skip();
    }
  }
  if (!chunk) fail_decode(where + ": neither text nor image");
  return *std::move(chunk);
}

struct PackedTensor {
  bool has_values = false;
  std::string_view values;
  std::string_view crow_indices;
  std::string_view col_indices;
  std::int32_t dtype = 0;
  TensorLayout layout;
};

void read_sparse(Reader fields, PackedTensor& tensor) {
  tensor.values = tensor.crow_indices = tensor.col_indices = {};
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(sparse_csr::kValues): tensor.values = read_bytes(fields); break;
      case bytes_field(sparse_csr::kCrowIndices): tensor.crow_indices = read_bytes(fields); break;
      case bytes_field(sparse_csr::kColIndices): tensor.col_indices = read_bytes(fields); break;
      default: fields.skip();
    }
  }
}

PackedTensor read_packed_tensor(Reader fields) {
  PackedTensor tensor;
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(tensor::kDense):
        tensor.values = read_bytes(fields);
        tensor.layout.sparse = false;
        tensor.has_values = true;
        break;
      case bytes_field(tensor::kSparseCsr):
        read_sparse(fields.get_message(), tensor);
        tensor.layout.sparse = true;
        tensor.has_values = true;
        break;
      case varint_field(tensor::kDType): tensor.dtype = fields.get_enum(); break;
      case bytes_field(tensor::kShape): read_shape(fields, tensor.layout.shape); break;
      case varint_field(tensor::kShape): read_extent(fields, tensor.layout.shape); break;
      default: fields.skip();
    }
  }
  return tensor;
}

TensorData read_tensor(std::string_view message, const std::string& where) {
  PackedTensor tensor = read_packed_tensor(make_reader(message));
  if (!tensor.has_values) fail_decode(where + ": neither dense nor sparse values");
  if (tensor.layout.sparse) {
    tensor.layout.crow_indices = unpack<std::int64_t>(tensor.crow_indices, where);
    tensor.layout.col_indices = unpack<std::int64_t>(tensor.col_indices, where);
  }
  Values values = unpack_values(tensor.values, tensor.dtype, where);
  return values.dtype == DType::kFloat32
             ? arrange(std::move(values.floats), std::move(tensor.layout), where)
             : arrange(std::move(values.ints), std::move(tensor.layout), where);
}

Datum read_datum(Reader fields, std::size_t index) {
  Datum datum;
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(datum::kModelInput): {
        const std::string where = chunk_label(index, datum.model_input.chunks.size());
        datum.model_input.chunks.push_back(read_chunk(fields.get_message(), where));
        break;
      }
      case bytes_field(datum::kLossFnInputs): {
        BytesEntry entry = read_bytes_entry(fields);
        TensorData tensor = read_tensor(entry.value, loss_input_label(index, entry.key));
        set_tensor(datum.loss_fn_inputs, std::move(entry.key), std::move(tensor));
        break;
      }
      default: fields.skip();
    }
  }
  return datum;
}

LossConfigValue read_config_value(std::string_view message) {
  LossConfigValue value = 0.0;
  Reader fields = make_reader(message);
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case double_field(config_value::kNumber): value = fields.get_double(); break;
      case bytes_field(config_value::kText): value = read_text(fields); break;
      default: fields.skip();
    }
  }
  return value;
}

}  // namespace

ForwardBackwardRequest decode_request(std::string_view body) {
  ForwardBackwardRequest request;
  LossConfig newer_config;
  Reader fields = make_reader(body);
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(request::kModelId): request.model_id = read_text(fields); break;
      case varint_field(request::kSeqId): request.seq_id = fields.get_int64(); break;
      case bytes_field(request::kData):
        request.data.push_back(read_datum(fields.get_message(), request.data.size()));
        break;
      case bytes_field(request::kLossFn): request.loss_fn = read_text(fields); break;
      case bytes_field(request::kLossFnConfig): {
        DoubleEntry entry = read_double_entry(fields);
        request.loss_fn_config[std::move(entry.key)] = entry.value;
        break;
      }
      case bytes_field(request::kLossFnConfigV2): {
        BytesEntry entry = read_bytes_entry(fields);
        newer_config[std::move(entry.key)] = read_config_value(entry.value);
        break;
      }
      case varint_field(request::kForwardOnly): request.forward_only = read_bool(fields); break;
      default: fields.skip();
    }
  }
  // A number stands in both maps; where they differ, the newer map counts.
  for (auto& [key, value] : newer_config) request.loss_fn_config[key] = std::move(value);
  return request;
}

}  // namespace tinkex::wire::proto
