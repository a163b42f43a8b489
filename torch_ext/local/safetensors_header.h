#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// One tensor of a safetensors file.
struct SafetensorsEntry {
  std::string dtype;  ///< "F32", "BF16", ...: one that safetensors_element_size() knows.
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;  ///< From the start of the file.
  std::uint64_t size = 0;   ///< In bytes.
};

/// Names and places of the tensors of a safetensors file. No LibTorch.
struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;

  /// Bytes at the start of a file that hold the header's length.
  static constexpr std::uint64_t kLengthBytes = 8;
  /// Longer headers are refused.
  static constexpr std::uint64_t kLargest = 100'000'000;

  /// Checks the JSON text of a header that is followed by all of the other `file_size` bytes. It is
  /// untrusted: every length, type, shape and offset is checked, and the tensors must cover the
  /// rest of the file without overlap and without hole. Errors are kIo and name `path`.
  static Result<SafetensorsHeader> parse(const std::filesystem::path& path, std::string_view text,
                                         std::uint64_t file_size);
};

/// Bytes of an element; 0 for a type that is not known.
std::size_t safetensors_element_size(std::string_view dtype);

/// "not a valid safetensors file: 'PATH': WHAT".
Error safetensors_error(const std::filesystem::path& path, const std::string& what);

}  // namespace tinkex::torch_ext::local
