#include "torch_ext/metrics_tensor.h"

#include <ATen/ops/scalar_tensor.h>

namespace tinkex::torch_ext {

std::vector<std::pair<std::string, at::Tensor>> metrics_to_tensors(const Metrics& metrics) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  tensors.reserve(metrics.size());
  for (const auto& [name, value] : metrics) {
    tensors.emplace_back(name, at::scalar_tensor(value, at::kDouble));
  }
  return tensors;
}

}  // namespace tinkex::torch_ext
