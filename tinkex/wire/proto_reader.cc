#include "tinkex/wire/proto_reader.h"

#include "tinkex/base/text.h"
#include "tinkex/wire/boundary.h"
#include "tinkex/wire/input_rules.h"
#include "tinkex/wire/proto_schema.h"

namespace tinkex::wire::proto {
namespace {

std::vector<float> unpack_bfloat16(std::string_view bytes, std::string_view where) {
  const std::vector<std::uint16_t> halves = unpack<std::uint16_t>(bytes, where);
  std::vector<float> floats;
  floats.reserve(halves.size());
  for (const std::uint16_t half : halves) floats.push_back(to_float(BFloat16Bits{half}));
  return floats;
}

}  // namespace

std::string read_text(Reader& reader) {
  const std::string_view text = read_bytes(reader);
  if (!internal::is_utf8(text))
    fail_decode("a text field is not valid UTF-8: " + internal::quoted(text));
  return std::string(text);
}

void read_shape(Reader& reader, std::vector<std::int64_t>& shape) {
  for (const std::int64_t extent : reader.get_packed_int64()) {
    if (shape.size() == kMaxDimensions) fail_decode("a shape has more than 16 dimensions");
    shape.push_back(extent);
  }
}

void read_extent(Reader& reader, std::vector<std::int64_t>& shape) {
  if (shape.size() == kMaxDimensions) fail_decode("a shape has more than 16 dimensions");
  shape.push_back(reader.get_int64());
}

BytesEntry read_bytes_entry(Reader& reader) {
  BytesEntry entry;
  Reader fields = reader.get_message();
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(entry::kKey): entry.key = read_text(fields); break;
      case bytes_field(entry::kValue): entry.value = read_bytes(fields); break;
      default: fields.skip();
    }
  }
  return entry;
}

DoubleEntry read_double_entry(Reader& reader) {
  DoubleEntry entry;
  Reader fields = reader.get_message();
  while (fields.next()) {
    switch (fields.tag_and_type()) {
      case bytes_field(entry::kKey): entry.key = read_text(fields); break;
      case double_field(entry::kValue): entry.value = fields.get_double(); break;
      default: fields.skip();
    }
  }
  return entry;
}

template <class T>
std::vector<T> unpack(std::string_view bytes, std::string_view where) {
  if (bytes.size() % sizeof(T) != 0) {
    fail_decode(std::string(where) + ": " + std::to_string(bytes.size()) +
                " bytes are no whole number of " + std::to_string(sizeof(T)) + "-byte elements");
  }
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

template std::vector<float> unpack(std::string_view, std::string_view);
template std::vector<std::int32_t> unpack(std::string_view, std::string_view);
template std::vector<std::int64_t> unpack(std::string_view, std::string_view);

Values unpack_values(std::string_view bytes, std::int32_t code, std::string_view where) {
  Values values;
  switch (code) {
    case dtype::kFloat32: values.floats = unpack<float>(bytes, where); return values;
    case dtype::kBFloat16: values.floats = unpack_bfloat16(bytes, where); return values;
    case dtype::kInt64: values.ints = unpack<std::int64_t>(bytes, where); break;
    case dtype::kInt32: {
      const std::vector<std::int32_t> narrow = unpack<std::int32_t>(bytes, where);
      values.ints.assign(narrow.begin(), narrow.end());
      break;
    }
    default: packed_element_size(code, where);
  }
  values.dtype = DType::kInt64;
  return values;
}

std::size_t packed_element_size(std::int32_t code, std::string_view where) {
  switch (code) {
    case dtype::kFloat32:
    case dtype::kInt32: return 4;
    case dtype::kInt64: return 8;
    case dtype::kBFloat16: return 2;
    default: break;
  }
  fail_decode(std::string(where) + ": unknown dtype code " + std::to_string(code) +
              ", expected 1 (float32), 2 (int64), 3 (int32) or 4 (bfloat16)");
}

}  // namespace tinkex::wire::proto
