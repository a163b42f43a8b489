#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// Keys and values of a prompt, filled by decoder_forward.
class KvCache {
 public:
  KvCache(const ModelConfig& config, std::int64_t length, at::ScalarType dtype);

  std::int64_t length() const { return length_; }

  /// Stores the keys and values (1, kv heads, length, head_dim) of `layer`.
  void write(std::size_t layer, const at::Tensor& keys, const at::Tensor& values);

  /// (kv heads, length, head_dim), contiguous.
  const at::Tensor& keys(std::size_t layer) const { return keys_[layer]; }
  const at::Tensor& values(std::size_t layer) const { return values_[layer]; }

 private:
  std::int64_t length_;
  std::vector<at::Tensor> keys_;
  std::vector<at::Tensor> values_;
};

}  // namespace tinkex::torch_ext::local
