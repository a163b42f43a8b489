#pragma once

// Writes small GGUF files for tests, sound ones and others.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/gguf.h"

namespace tinkex::torch_ext::local::testing {

/// The bytes of a number, as they lie in memory.
template <class Number>
std::string raw(Number value) {
  std::string bytes(sizeof(value), '\0');
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}
template <class Number>
std::string raw(const std::vector<Number>& values) {
  std::string bytes;
  for (const Number value : values) bytes += raw(value);
  return bytes;
}
/// A text behind its length.
std::string raw_text(std::string_view text);

class GgufWriter {
 public:
  /// Metadata of any type, even one that does not exist.
  GgufWriter& value(std::string_view key, std::uint32_t kind, std::string_view bytes);
  GgufWriter& value(std::string_view key, GgufKind kind, std::string_view bytes);
  GgufWriter& text(std::string_view key, std::string_view text);
  GgufWriter& uint32(std::string_view key, std::uint32_t number);
  GgufWriter& float32(std::string_view key, float number);
  GgufWriter& array(std::string_view key, GgufKind element, std::uint64_t count,
                    std::string_view bytes);
  GgufWriter& texts(std::string_view key, const std::vector<std::string>& texts);

  /// A tensor of ggml type `type`; `shape` as PyTorch has it. It is put behind the last one unless
  /// `offset` says otherwise.
  GgufWriter& tensor(std::string_view name, std::vector<std::uint64_t> shape, std::uint32_t type,
                     std::string_view bytes, std::optional<std::uint64_t> offset = std::nullopt);
  /// A float32 tensor of 1, 2, 3, ...
  GgufWriter& counting_tensor(std::string_view name, std::vector<std::uint64_t> shape);

  /// The file; it ends with the last tensor's last byte.
  std::string bytes() const;

  std::string magic = "GGUF";
  std::uint32_t version = 3;
  /// What the header claims, unless it is the truth.
  std::optional<std::uint64_t> tensor_count, metadata_count;
  /// Of the tensors; general.alignment is written by value().
  std::size_t alignment = 32;

 private:
  std::string metadata_, infos_, data_;
  std::uint64_t metadata_entries_ = 0;
  std::uint64_t tensors_ = 0;
};

/// The file 'test.gguf' of these bytes, which are copied to where nothing lies behind them.
Result<std::shared_ptr<const GgufFile>> parsed(std::string_view bytes);

/// A llama with one layer, two query heads and one for keys and values, 5 tokens, a head size of 4
/// and a tied embedding. All weights count 1, 2, 3, ...
GgufWriter tiny_llama();

}  // namespace tinkex::torch_ext::local::testing
