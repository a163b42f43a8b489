#pragma once

// Causal attention for training and for prompts, as products of matrices: a block of positions of
// all query heads that read the same keys is one matrix. Sequences that LibTorch's flash attention
// is made for are thousands of tokens long; on those of a hundred or two this takes half its time
// or less. In the forward pass a position depends on those before it alone, to the bit, as long as
// all values are finite: not on other sequences, on how far its own is padded, or on threads.

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// Keys and values of `rows` (batch * length, (heads + 2 kv heads) * head_dim), as views of shape
/// (batch, kv heads, length, head_dim).
struct KeyValueViews {
  at::Tensor k, v;
  static KeyValueViews of(const at::Tensor& rows, const ModelConfig& config, std::int64_t length);
};

/// What attention() gives.
struct AttentionRecord {
  at::Tensor out;      ///< Rows (batch * length, heads * head_dim).
  at::Tensor factors;  ///< SoftmaxFactors of each query: (batch, heads, length, 2).
};

/// Softmax attention, each with scores q . k / sqrt(head_dim), of queries, keys and values that lie
/// as in `rows` of KeyValueViews; query head j reads key head j / (heads / kv heads).
AttentionRecord attention(const at::Tensor& rows, const ModelConfig& config, std::int64_t length);

/// The gradient with respect to `rows`, given that of AttentionRecord::out.
at::Tensor attention_backward(const at::Tensor& d_out, const at::Tensor& rows,
                              const AttentionRecord& record, const ModelConfig& config,
                              std::int64_t length);

}  // namespace tinkex::torch_ext::local
