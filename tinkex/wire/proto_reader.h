#pragma once

#include <cstdint>
#include <cstring>
#include <protozero/pbf_reader.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/tensor_data.h"

/// Reading of protobuf bytes from strangers, over protozero. protozero throws at a length beyond
/// the end and at an overlong varint; what it does not check is that a field has the wire type that
/// the schema says, so decoders switch over field and type together and skip the rest, as unknown.
namespace tinkex::wire::proto {

/// Case labels of a switch over `Reader::tag_and_type()`.
constexpr std::uint64_t varint_field(std::uint32_t field) noexcept {
  return protozero::tag_and_type(field, protozero::pbf_wire_type::varint);
}
constexpr std::uint64_t double_field(std::uint32_t field) noexcept {
  return protozero::tag_and_type(field, protozero::pbf_wire_type::fixed64);
}
constexpr std::uint64_t bytes_field(std::uint32_t field) noexcept {
  return protozero::tag_and_type(field, protozero::pbf_wire_type::length_delimited);
}

using Reader = protozero::pbf_reader;

inline Reader make_reader(std::string_view message) {
  return Reader(message.data(), message.size());
}

/// Content of the current field, which lies in the body.
inline std::string_view read_bytes(Reader& reader) {
  const protozero::data_view view = reader.get_view();
  return {view.data(), view.size()};
}

/// Not get_bool(): protozero's looks at the first byte before it knows that there is one.
inline bool read_bool(Reader& reader) { return reader.get_uint64() != 0; }

/// Content of the current field as text. Throws kDecode unless it is UTF-8.
std::string read_text(Reader& reader);

/// Adds the current packed field to `shape`. Throws kDecode if there are too many dimensions.
void read_shape(Reader& reader, std::vector<std::int64_t>& shape);
/// The same for a field that is not packed.
void read_extent(Reader& reader, std::vector<std::int64_t>& shape);

/// One entry of a map whose values are messages or doubles.
struct BytesEntry {
  std::string key;
  std::string_view value;
};
struct DoubleEntry {
  std::string key;
  double value = 0.0;
};
BytesEntry read_bytes_entry(Reader& reader);
DoubleEntry read_double_entry(Reader& reader);

/// Copies packed words, whatever their alignment. Throws kDecode if the length does not divide.
template <class T>
std::vector<T> unpack(std::string_view bytes, std::string_view where);

extern template std::vector<float> unpack(std::string_view, std::string_view);
extern template std::vector<std::int32_t> unpack(std::string_view, std::string_view);
extern template std::vector<std::int64_t> unpack(std::string_view, std::string_view);

/// Elements of a packed array in the type that the library uses for them: bfloat16 is widened to
/// float32 and int32 to int64.
struct Values {
  DType dtype = DType::kFloat32;  ///< kFloat32 or kInt64: says which vector is in use.
  std::vector<float> floats;
  std::vector<std::int64_t> ints;
};
/// `code` is a DType of tinker_public. Throws kDecode if it is unknown.
Values unpack_values(std::string_view bytes, std::int32_t code, std::string_view where);
/// Bytes of one element on the wire. Throws kDecode if the code is unknown.
std::size_t packed_element_size(std::int32_t code, std::string_view where);

}  // namespace tinkex::wire::proto
