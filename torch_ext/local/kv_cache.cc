#include "torch_ext/local/kv_cache.h"

#include <ATen/ops/empty.h>

namespace tinkex::torch_ext::local {

KvCache::KvCache(const ModelConfig& config, std::int64_t length, at::ScalarType dtype)
    : length_(length) {
  const std::vector<std::int64_t> shape{config.num_key_value_heads, length, config.head_dim};
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    keys_.push_back(at::empty(shape, dtype));
    values_.push_back(at::empty(shape, dtype));
  }
}

void KvCache::write(std::size_t layer, const at::Tensor& keys, const at::Tensor& values) {
  keys_[layer].copy_(keys.squeeze(0));
  values_[layer].copy_(values.squeeze(0));
}

}  // namespace tinkex::torch_ext::local
