#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/lora_layout.h"

namespace tinkex::torch_ext::local {

/// One state of the LoRA matrices of a run. Immutable: training makes new ones, so that whoever
/// holds this keeps sampling from the same weights. Thread-safe.
class Adapter {
 public:
  /// A drawn from U(-1/sqrt(in), 1/sqrt(in)) with a random stream per matrix, B zero.
  static std::shared_ptr<const Adapter> random(std::shared_ptr<const LoraLayout> layout,
                                               std::uint64_t seed, at::ScalarType dtype);
  /// Takes over `flat`, contiguous and of layout->size() elements, which nobody may change later.
  static std::shared_ptr<const Adapter> from_flat(std::shared_ptr<const LoraLayout> layout,
                                                  at::Tensor flat);

  const LoraLayout& layout() const { return *layout_; }
  const std::shared_ptr<const LoraLayout>& shared_layout() const { return layout_; }
  /// All matrices in one vector, in the order of layout().matrices().
  const at::Tensor& flat() const { return flat_; }
  /// The matrix of that PEFT name (a view), undefined if there is none.
  at::Tensor matrix(std::string_view name) const;

  /// Whether this adapter fits `model`: same shapes, same element type.
  Status check_fits(const BaseModel& model) const;

 private:
  Adapter(std::shared_ptr<const LoraLayout> layout, at::Tensor flat)
      : layout_(std::move(layout)), flat_(std::move(flat)) {}

  std::shared_ptr<const LoraLayout> layout_;
  at::Tensor flat_;
};

}  // namespace tinkex::torch_ext::local
