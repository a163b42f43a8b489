#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/tensor_data.h"

/// The two passes of the protobuf encoder: sizes first, then bytes. A message's length stands
/// before its content, so knowing it beforehand saves moving the content, and the buffer grows
/// once.
namespace tinkex::wire::proto {

constexpr std::size_t varint_size(std::uint64_t value) noexcept {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}
/// Sizes of whole fields, tag included.
constexpr std::size_t bytes_field_size(std::size_t length) noexcept {
  return 1 + varint_size(length) + length;
}
constexpr std::size_t integer_field_size(std::uint64_t value) noexcept {
  return 1 + varint_size(value);
}
inline constexpr std::size_t kDoubleFieldSize = 1 + sizeof(double);
/// A field at its default is left out, as proto3 does.
constexpr std::size_t optional_bytes_size(std::size_t length) noexcept {
  return length == 0 ? 0 : bytes_field_size(length);
}
/// Content of a packed varint field.
inline std::size_t packed_size(std::span<const std::int64_t> values) noexcept {
  std::size_t size = 0;
  for (const std::int64_t value : values) size += varint_size(static_cast<std::uint64_t>(value));
  return size;
}

/// Makes room for a message of `size` bytes, refusing what protobuf cannot hold (2 GiB), plus a
/// little for a seq_id to be appended later. Throws kInvalidArgument.
char* begin_message(std::size_t size, ByteBuffer& body);

/// Writes fields one after the other to memory that was sized beforehand.
class Writer {
 public:
  explicit Writer(char* out) noexcept : out_(out) {}

  char* position() const noexcept { return out_; }

  void integer(std::uint32_t field, std::uint64_t value) noexcept {
    tag(field, kVarint);
    varint(value);
  }
  void real(std::uint32_t field, double value) noexcept {
    tag(field, kFixed64);
    std::memcpy(skip(sizeof(value)), &value, sizeof(value));
  }
  void bytes(std::uint32_t field, std::string_view content) noexcept {
    char* out = open(field, content.size());
    if (!content.empty()) std::memcpy(out, content.data(), content.size());
    skip(content.size());
  }
  void optional_bytes(std::uint32_t field, std::string_view content) noexcept {
    if (!content.empty()) bytes(field, content);
  }
  void packed(std::uint32_t field, std::span<const std::int64_t> values) noexcept {
    open(field, packed_size(values));
    for (const std::int64_t value : values) varint(static_cast<std::uint64_t>(value));
  }

  /// Begins a nested message or a block of `length` bytes. The caller writes that many next, either
  /// as fields or to the returned memory followed by skip.
  char* open(std::uint32_t field, std::size_t length) noexcept {
    tag(field, kLengthDelimited);
    varint(length);
    return out_;
  }
  /// Steps over bytes that the caller fills; returns where they begin.
  char* skip(std::size_t length) noexcept {
    char* begin = out_;
    out_ += length;
    return begin;
  }

 private:
  static constexpr std::uint32_t kVarint = 0;
  static constexpr std::uint32_t kFixed64 = 1;
  static constexpr std::uint32_t kLengthDelimited = 2;

  void tag(std::uint32_t field, std::uint32_t type) noexcept {
    *out_++ = static_cast<char>((field << 3) | type);
  }
  void varint(std::uint64_t value) noexcept {
    for (; value >= 0x80; value >>= 7) *out_++ = static_cast<char>(value | 0x80);
    *out_++ = static_cast<char>(value);
  }

  char* out_;
};

/// The bytes of a vector of numbers.
template <class T>
std::string_view as_bytes(std::span<const T> values) noexcept {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}
template <class T>
std::string_view as_bytes(const std::vector<T>& values) noexcept {
  return as_bytes(std::span<const T>(values));
}

/// DType of tinker_public for float32 or int64.
std::uint64_t dtype_code(DType wire) noexcept;

}  // namespace tinkex::wire::proto
