#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "tinkex/outputs.h"

namespace tinkex::torch_ext {

/// Every metric as a new float64 CPU tensor without dimensions, in order of name.
std::vector<std::pair<std::string, at::Tensor>> metrics_to_tensors(const Metrics& metrics);

}  // namespace tinkex::torch_ext
