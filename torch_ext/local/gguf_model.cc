#include "torch_ext/local/gguf_model.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstddef>
#include <span>

#include "torch_ext/local/gguf_config.h"
#include "torch_ext/local/guard.h"

namespace tinkex::torch_ext::local {

Result<GgufModel> GgufModel::open(const std::filesystem::path& path) {
  Result<std::shared_ptr<const GgufFile>> file = GgufFile::open(path);
  if (!file) return file.error();
  Result<ModelConfig> config = gguf_config(**file);
  if (!config) return config.error();
  Result<std::vector<GgufWeight>> weights = gguf_weights(**file, *config);
  if (!weights) return weights.error();
  GgufModel model(std::move(*file), std::move(*config));
  for (GgufWeight& weight : *weights) model.weights_.emplace(weight.name, weight);
  return model;
}

std::vector<std::string> GgufModel::names() const {
  std::vector<std::string> names;
  for (const auto& [name, weight] : weights_) names.push_back(name);
  return names;
}

std::uint64_t GgufModel::largest_read() const {
  std::int64_t most = 0;
  for (const auto& [name, weight] : weights_) most = std::max(most, weight.tensor->elements());
  return static_cast<std::uint64_t>(most) * sizeof(float);
}

Result<at::Tensor> GgufModel::read(const std::string& name) const {
  const auto found = weights_.find(name);
  if (found == weights_.end()) return file_->error("weight '" + name + "' is missing");
  const GgufWeight& weight = found->second;
  const auto widened = [&]() -> Result<at::Tensor> {
    at::Tensor tensor = at::empty(weight.tensor->shape, at::ScalarType::Float);
    const std::span out(tensor.mutable_data_ptr<float>(), static_cast<std::size_t>(tensor.numel()));
    const Status status = widen(*file_, weight, out);
    if (!status) return status.error();
    return tensor;
  };
  return guarded(widened, kNoMemoryForModel);
}

}  // namespace tinkex::torch_ext::local
