#pragma once

#include <c10/core/ScalarType.h>

#include "torch_ext/local/backend_options.h"

namespace tinkex::torch_ext::local {

inline at::ScalarType scalar_type(WeightType type) {
  return type == WeightType::kBfloat16 ? at::ScalarType::BFloat16 : at::ScalarType::Float;
}

}  // namespace tinkex::torch_ext::local
