#include "torch_ext/local/sequence_cache.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

namespace tinkex::torch_ext::local {

SequenceCache::SequenceCache(std::shared_ptr<const KvCache> prompt, const ModelConfig& config,
                             at::ScalarType dtype)
    : prompt_(std::move(prompt)), config_(&config), dtype_(dtype) {}

std::int64_t SequenceCache::bytes_per_position(const ModelConfig& config, at::ScalarType dtype) {
  return config.num_hidden_layers * 2 * config.key_value_size() *
         static_cast<std::int64_t>(c10::elementSize(dtype));
}

void SequenceCache::reserve() {
  if (own_ < static_cast<std::int64_t>(blocks_.size()) * kBlock) return;
  blocks_.push_back(at::empty(
      {config_->num_hidden_layers, 2, config_->num_key_value_heads, kBlock, config_->head_dim},
      dtype_));
}

template <class T>
T* SequenceCache::block_data(std::size_t block, std::size_t layer, std::int64_t which,
                             std::int64_t head) const {
  const std::int64_t index =
      (static_cast<std::int64_t>(layer) * 2 + which) * config_->num_key_value_heads + head;
  return blocks_[block].mutable_data_ptr<T>() + index * kBlock * config_->head_dim;
}

template <class T>
void SequenceCache::append(std::size_t layer, const T* keys, const T* values) {
  const std::int64_t dim = config_->head_dim;
  const auto block = static_cast<std::size_t>(own_ / kBlock);
  const std::int64_t offset = own_ % kBlock * dim;
  for (std::int64_t head = 0; head < config_->num_key_value_heads; ++head) {
    std::copy_n(keys + head * dim, dim, block_data<T>(block, layer, 0, head) + offset);
    std::copy_n(values + head * dim, dim, block_data<T>(block, layer, 1, head) + offset);
  }
}

template <class T>
void SequenceCache::segments(std::size_t layer, std::int64_t head,
                             std::vector<KeyValueSegment<T>>& out) const {
  const std::int64_t offset = head * prompt_->length() * config_->head_dim;
  out.clear();
  out.push_back({prompt_->keys(layer).const_data_ptr<T>() + offset,
                 prompt_->values(layer).const_data_ptr<T>() + offset, prompt_->length()});
  std::int64_t left = own_ + 1;
  for (std::size_t block = 0; left > 0; ++block, left -= kBlock) {
    out.push_back({block_data<T>(block, layer, 0, head), block_data<T>(block, layer, 1, head),
                   std::min(left, kBlock)});
  }
}

template void SequenceCache::append(std::size_t, const float*, const float*);
template void SequenceCache::append(std::size_t, const double*, const double*);
template void SequenceCache::segments(std::size_t, std::int64_t,
                                      std::vector<KeyValueSegment<float>>&) const;
template void SequenceCache::segments(std::size_t, std::int64_t,
                                      std::vector<KeyValueSegment<double>>&) const;

}  // namespace tinkex::torch_ext::local
