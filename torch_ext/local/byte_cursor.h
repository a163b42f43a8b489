#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace tinkex::torch_ext::local {

/// Walks over foreign little-endian bytes and never leaves them. A call that would returns false
/// and moves nothing.
class ByteCursor {
 public:
  explicit ByteCursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  /// In bytes from the start.
  std::size_t position() const { return position_; }
  std::size_t left() const { return bytes_.size() - position_; }
  /// What was passed since `start`, an earlier position.
  std::span<const std::byte> since(std::size_t start) const {
    return bytes_.subspan(start, position_ - start);
  }

  [[nodiscard]] bool skip(std::uint64_t count) {
    if (count > left()) return false;
    position_ += static_cast<std::size_t>(count);
    return true;
  }

  template <class Number>
  [[nodiscard]] bool number(Number& value) {
    static_assert(std::endian::native == std::endian::little);
    const std::size_t start = position_;
    if (!skip(sizeof(value))) return false;
    std::memcpy(&value, bytes_.data() + start, sizeof(value));
    return true;
  }

  /// A text behind its length, a 64-bit number. The view points into the bytes.
  [[nodiscard]] bool text(std::string_view& value) {
    const std::size_t start = position_;
    std::uint64_t length = 0;
    if (!number(length)) return false;
    if (!skip(length)) {
      position_ = start;
      return false;
    }
    const std::span<const std::byte> passed = since(start + sizeof(length));
    value = {reinterpret_cast<const char*>(passed.data()), passed.size()};
    return true;
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

}  // namespace tinkex::torch_ext::local
