#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/config.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local {

/// The safetensors files of a model's folder: one `model.safetensors`, or several that
/// `model.safetensors.index.json` lists.
class FolderWeights {
 public:
  /// Opens the files and checks their headers. A tensor that the list gives to a file without it,
  /// and one that two files have, are errors, of code kIo, that name file and tensor.
  static Result<FolderWeights> open(const std::filesystem::path& folder);

  /// Whether the headers are those of such a model. Every tensor that is missing, has another shape
  /// or is not expected is named in one error; of many, the first few are, and the rest is counted.
  /// So are the fields of config.json that say otherwise.
  Status check(const ModelConfig& config) const;
  /// Bytes of the largest tensor, as read() gives it.
  std::uint64_t largest_read() const;
  /// The tensor of that name in its own type.
  Result<at::Tensor> read(const std::string& name) const;

 private:
  Status add(const std::filesystem::path& path);
  const SafetensorsEntry* find(const std::string& name) const;

  std::filesystem::path folder_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> file_of_;
};

}  // namespace tinkex::torch_ext::local
