#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local {

/// The safetensors files of a model's folder: one `model.safetensors`, or several that
/// `model.safetensors.index.json` lists.
class FolderWeights {
 public:
  /// Opens the files and checks their headers. A tensor that the list gives to a file without it,
  /// and one that two files have, are errors, of code kIo, that name file and tensor.
  static Result<FolderWeights> open(const std::filesystem::path& folder);

  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return file_of_.count(name) > 0; }
  /// The tensor of that name in its own type.
  Result<at::Tensor> read(const std::string& name) const;

 private:
  Status add(const std::filesystem::path& path);

  std::filesystem::path folder_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t> file_of_;
};

}  // namespace tinkex::torch_ext::local
