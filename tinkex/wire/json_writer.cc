#include "tinkex/wire/json_writer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "tinkex/wire/pack.h"

namespace tinkex::wire::json {
namespace {

// Longest forms: `-9223372036854775808` and `-2.2250738585072014e-308`.
constexpr std::size_t kLongestNumber = 24;
constexpr std::size_t kBlock = 512;

char* print(std::int64_t value, char* out) {
  return std::to_chars(out, out + kLongestNumber, value).ptr;
}

template <class Float>
char* print_float(Float value, char* out) {
  if (!std::isfinite(value)) return std::copy_n("null", 4, out);
  // `-0`, the shortest form, is an integer to JSON readers, and integers have no negative zero.
  if (value == 0 && std::signbit(value)) return std::copy_n("-0.0", 4, out);
  return std::to_chars(out, out + kLongestNumber, value).ptr;
}
// The shortest form that reads back as the same float32 is about half as long as the double's.
char* print(float value, char* out) { return print_float(value, out); }
char* print(double value, char* out) { return print_float(value, out); }

// Room is made for a block's longest possible text, and what was not needed is given back.
template <class To, class From>
void write_array(std::span<const From> values, ByteBuffer& body) {
  body.push_back('[');
  for (std::size_t i = 0; i < values.size(); i += kBlock) {
    const std::size_t end = std::min(i + kBlock, values.size());
    const std::size_t before = body.size();
    char* const begin = body.extend((end - i) * (kLongestNumber + 1));
    char* out = begin;
    for (std::size_t j = i; j < end; ++j) {
      if (j > 0) *out++ = ',';
      out = print(convert_element<To>(values[j]), out);
    }
    body.truncate(before + static_cast<std::size_t>(out - begin));
  }
  body.push_back(']');
}

template <class To>
void write_elements(const TensorData& tensor, ByteBuffer& body) {
  visit_elements(tensor, [&body](auto values) { write_array<To>(values, body); });
}

template <class Number>
void write_one(Number value, ByteBuffer& body) {
  char text[kLongestNumber];
  body.append({text, static_cast<std::size_t>(print(value, text) - text)});
}

}  // namespace

void write_string(std::string_view text, ByteBuffer& body) {
  body.append(nlohmann::json(text).dump());
}

void write_number(std::int64_t value, ByteBuffer& body) { write_one(value, body); }
void write_number(float value, ByteBuffer& body) { write_one(value, body); }
void write_number(double value, ByteBuffer& body) { write_one(value, body); }

void write_floats(const TensorData& tensor, ByteBuffer& body) {
  write_elements<float>(tensor, body);
}
void write_ints(const TensorData& tensor, ByteBuffer& body) {
  write_elements<std::int64_t>(tensor, body);
}
void write_ints(std::span<const std::int64_t> values, ByteBuffer& body) {
  write_array<std::int64_t>(values, body);
}
void write_ints(std::span<const std::int32_t> values, ByteBuffer& body) {
  write_array<std::int64_t>(values, body);
}
void write_floats(std::span<const float> values, ByteBuffer& body) {
  write_array<float>(values, body);
}

bool write_tokens(const TensorData& tensor, ByteBuffer& body) {
  if (find_bad_token(tensor)) return false;
  write_ints(tensor, body);
  return true;
}

void write_tensor(const TensorData& tensor, DType wire, ByteBuffer& body) {
  body.append("{\"data\":");
  if (wire == DType::kFloat32) {
    write_floats(tensor, body);
  } else {
    write_ints(tensor, body);
  }
  body.append(",\"dtype\":");
  write_string(to_string(wire), body);
  if (!tensor.shape().empty()) {
    body.append(",\"shape\":");
    write_ints(tensor.shape(), body);
  }
  if (tensor.is_sparse()) {
    body.append(",\"sparse_crow_indices\":");
    write_ints(tensor.crow_indices(), body);
    body.append(",\"sparse_col_indices\":");
    write_ints(tensor.col_indices(), body);
  }
  body.push_back('}');
}

}  // namespace tinkex::wire::json
