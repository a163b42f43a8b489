#include "tinkex/datum.h"

namespace tinkex {

const TensorData* find(const NamedTensors& tensors, std::string_view name) noexcept {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return &tensor;
  }
  return nullptr;
}

}  // namespace tinkex
