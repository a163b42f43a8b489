#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/file_io.h"
#include "torch_ext/local/safetensors_header.h"

namespace tinkex::torch_ext::local {

/// A safetensors file open for reading. Memory is reserved for what its header has been checked to
/// hold.
class SafetensorsFile {
 public:
  /// Reads and checks the header; errors are kIo and name the file.
  static Result<SafetensorsFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return find(name) != nullptr; }
  /// Null if there is none of that name.
  const SafetensorsEntry* find(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  /// The tensor of that name in its own type. A missing one is an error.
  Result<at::Tensor> read(const std::string& name) const;

 private:
  explicit SafetensorsFile(ReadableFile file) : file_(std::move(file)) {}

  ReadableFile file_;
  SafetensorsHeader header_;
};

/// Writes a safetensors file tensor by tensor, so that they need not be held together. Movable.
class SafetensorsWriter {
 public:
  struct Entry {
    std::string name;
    at::ScalarType type = at::ScalarType::Float;  ///< float32, float64, float16, bfloat16 or int64.
    std::vector<std::int64_t> shape;
  };

  /// Writes the header: the tensors in the order in which write() will be given them, larger
  /// element types first, and `metadata`, to which `"format": "pt"` is added.
  static Result<SafetensorsWriter> create(const std::filesystem::path& path,
                                          std::vector<Entry> entries,
                                          std::map<std::string, std::string> metadata);
  /// The tensor of the next entry.
  Status write(const at::Tensor& tensor);
  /// After all of them: waits until they are on the disk.
  Status finish();

 private:
  SafetensorsWriter(WritableFile file, std::vector<Entry> entries)
      : file_(std::move(file)), entries_(std::move(entries)) {}

  WritableFile file_;
  std::vector<Entry> entries_;
  std::size_t written_ = 0;
};

/// Writes tensors (float32, float64, float16, bfloat16 or int64) with `metadata`, to which
/// `"format": "pt"` is added, and waits until they are on the disk.
Status write_safetensors(const std::filesystem::path& path,
                         const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                         std::map<std::string, std::string> metadata);

}  // namespace tinkex::torch_ext::local
