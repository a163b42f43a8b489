#include "torch_ext/local/kv_cache.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

namespace tinkex::torch_ext::local {

KvCache::KvCache(const ModelConfig& config, std::int64_t batch, std::int64_t capacity,
                 at::ScalarType dtype)
    : batch_(batch) {
  const std::vector<std::int64_t> shape{batch, config.num_key_value_heads, capacity,
                                        config.head_dim};
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    keys_.push_back(at::empty(shape, dtype));
    values_.push_back(at::empty(shape, dtype));
  }
}

void KvCache::write(std::size_t layer, const at::Tensor& keys, const at::Tensor& values) {
  keys_[layer].narrow(2, length_, keys.size(2)).copy_(keys);
  values_[layer].narrow(2, length_, values.size(2)).copy_(values);
}

at::Tensor KvCache::keys(std::size_t layer, std::int64_t extra) const {
  return keys_[layer].narrow(2, 0, length_ + extra);
}

at::Tensor KvCache::values(std::size_t layer, std::int64_t extra) const {
  return values_[layer].narrow(2, 0, length_ + extra);
}

KvCache KvCache::with_rows(const at::Tensor& rows, std::int64_t capacity) const {
  KvCache other = *this;
  other.batch_ = rows.numel();
  for (std::vector<at::Tensor>* all : {&other.keys_, &other.values_}) {
    for (at::Tensor& tensor : *all) {
      const at::Tensor used = tensor.narrow(2, 0, length_);
      tensor =
          at::empty({other.batch_, tensor.size(1), capacity, tensor.size(3)}, tensor.options());
      tensor.narrow(2, 0, length_).copy_(at::index_select(used, 0, rows));
    }
  }
  return other;
}

}  // namespace tinkex::torch_ext::local
