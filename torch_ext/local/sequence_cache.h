#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "torch_ext/local/config.h"
#include "torch_ext/local/kv_cache.h"
#include "torch_ext/local/row_kernels.h"

namespace tinkex::torch_ext::local {

/// Keys and values of one sequence that is being decoded: those of its prompt, which it shares with
/// the other samples of the request, and its own, in blocks that are added as it grows.
class SequenceCache {
 public:
  /// `config` must outlive the cache.
  SequenceCache(std::shared_ptr<const KvCache> prompt, const ModelConfig& config,
                at::ScalarType dtype);

  /// Positions read.
  std::int64_t length() const { return prompt_->length() + own_; }

  /// Makes room for one more position.
  void reserve();
  /// Stores keys and values of `layer`, (kv heads, head_dim) each, for the position at length().
  template <class T>
  void append(std::size_t layer, const T* keys, const T* values);
  /// After every layer appended: the position becomes part of the sequence.
  void advance() { ++own_; }

  /// All positions of one kv head of `layer`, the appended one included.
  template <class T>
  void segments(std::size_t layer, std::int64_t head, std::vector<KeyValueSegment<T>>& out) const;

  /// Bytes that each own position takes.
  static std::int64_t bytes_per_position(const ModelConfig& config, at::ScalarType dtype);

 private:
  /// Positions in a block.
  static constexpr std::int64_t kBlock = 32;

  /// Keys (which 0) or values (1) of a head, (kBlock, head_dim).
  template <class T>
  T* block_data(std::size_t block, std::size_t layer, std::int64_t which, std::int64_t head) const;

  std::shared_ptr<const KvCache> prompt_;
  const ModelConfig* config_;
  at::ScalarType dtype_;
  std::int64_t own_ = 0;
  std::vector<at::Tensor> blocks_;  ///< (layers, 2, kv heads, kBlock, head_dim) each.
};

}  // namespace tinkex::torch_ext::local
