#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// Keys and values of the positions read so far, for sequences of one common length. Memory is
/// reserved once; the system hands it out as it is written.
class KvCache {
 public:
  KvCache(const ModelConfig& config, std::int64_t batch, std::int64_t capacity,
          at::ScalarType dtype);

  std::int64_t length() const { return length_; }
  std::int64_t batch() const { return batch_; }

  /// Stores keys and values (batch, kv heads, new positions, head_dim) of `layer` behind length().
  void write(std::size_t layer, const at::Tensor& keys, const at::Tensor& values);
  /// After every layer wrote: makes the positions part of the sequence.
  void advance(std::int64_t positions) { length_ += positions; }
  /// All keys of `layer` including `extra` positions beyond length().
  at::Tensor keys(std::size_t layer, std::int64_t extra) const;
  at::Tensor values(std::size_t layer, std::int64_t extra) const;

  /// A cache with room for `capacity` positions whose sequences are those at `rows` of this one.
  KvCache with_rows(const at::Tensor& rows, std::int64_t capacity) const;

 private:
  std::int64_t batch_;
  std::int64_t length_ = 0;
  std::vector<at::Tensor> keys_;  ///< Per layer (batch, kv heads, capacity, head_dim).
  std::vector<at::Tensor> values_;
};

}  // namespace tinkex::torch_ext::local
