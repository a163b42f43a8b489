#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/config.h"
#include "torch_ext/local/gguf.h"
#include "torch_ext/local/gguf_weights.h"

namespace tinkex::torch_ext::local {

/// A model in a GGUF file: its shape, and its weights under the names and in the order of Hugging
/// Face, as BaseModel::from_tensors() takes them. Immutable, thread-safe.
class GgufModel {
 public:
  /// Reads the tables, not the weights; what gguf_config() and gguf_weights() refuse is an error.
  static Result<GgufModel> open(const std::filesystem::path& path);

  const ModelConfig& config() const { return config_; }
  /// For the rest of the metadata, such as the tokenizer's.
  const std::shared_ptr<const GgufFile>& file() const { return file_; }

  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return weights_.count(name) > 0; }

  /// Bytes of the largest weight, as read() gives it.
  std::uint64_t largest_read() const;

  /// The weight of that name as float32, in memory of its own. A missing one is an error.
  Result<at::Tensor> read(const std::string& name) const;

 private:
  GgufModel(std::shared_ptr<const GgufFile> file, ModelConfig config)
      : file_(std::move(file)), config_(std::move(config)) {}

  std::shared_ptr<const GgufFile> file_;
  ModelConfig config_;
  std::map<std::string, GgufWeight> weights_;
};

}  // namespace tinkex::torch_ext::local
