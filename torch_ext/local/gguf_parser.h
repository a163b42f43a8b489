#pragma once

// The container format of GGUF, versions 2 and 3, little-endian: docs/gguf.md of
// github.com/ggml-org/ggml.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/ggml_types.h"

namespace tinkex::torch_ext::local {

/// Types of metadata, by the numbers of the format.
enum class GgufKind : std::uint32_t {
  kUint8 = 0,
  kInt8 = 1,
  kUint16 = 2,
  kInt16 = 3,
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kText = 8,
  kArray = 9,
  kUint64 = 10,
  kInt64 = 11,
  kFloat64 = 12,
};

/// `uint8`, `string`, ...; null for a number that the format does not know.
const char* name_of(GgufKind kind);

/// A value of the metadata, as it lies in the file.
struct GgufValue {
  GgufKind kind = GgufKind::kUint8;
  GgufKind element = GgufKind::kUint8;  ///< Type of an array's elements.
  std::uint64_t count = 0;              ///< Elements of an array.
  /// A number, a text without its length, or the elements of an array with theirs.
  std::span<const std::byte> bytes;
};

/// A tensor of the file.
struct GgufTensor {
  std::string name;
  /// Slowest dimension first, as PyTorch has it: a projection is (out, in). At most four
  /// dimensions, none of them 0. The last one is a whole number of blocks.
  std::vector<std::int64_t> shape;
  const GgmlType* type = nullptr;
  std::uint64_t begin = 0;  ///< In the file, where it lies row after row, aligned as that says.
  std::uint64_t size = 0;   ///< In bytes.

  std::int64_t elements() const;
};

/// The tables of a file; spans point into the bytes that were parsed. Tensors are in the file's
/// order.
struct GgufTables {
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::vector<GgufTensor> tensors;
  std::map<std::string, std::size_t, std::less<>> tensor_index;
};

/// Reads the tables of a file of `file_size` untrusted bytes, of which `bytes` are the first; null
/// if the tables go on behind those. Every count, length, type, shape and offset is checked before
/// it is used; memory and time grow with the size of the tables, whatever they claim. Errors are
/// kIo and name the file by `path`.
Result<std::optional<GgufTables>> parse_gguf(const std::filesystem::path& path,
                                             std::span<const std::byte> bytes,
                                             std::uint64_t file_size);

}  // namespace tinkex::torch_ext::local
