#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// What the backward pass of attention needs, beside the rows that went in.
struct AttentionRecord {
  at::Tensor out;  ///< (batch, heads, length, head_dim)
  at::Tensor logsumexp;
};

/// Queries, keys and values of `rows` (batch * length, (heads + 2 kv heads) * head_dim), as views
/// of shape (batch, heads, length, head_dim).
struct HeadViews {
  at::Tensor q, k, v;
  static HeadViews of(const at::Tensor& rows, const ModelConfig& config, std::int64_t length);
};

/// Causal softmax attention; query head j reads key head j / (heads / kv heads). Returns rows
/// (batch * length, heads * head_dim).
at::Tensor attention(const HeadViews& heads, AttentionRecord& record);

/// Backward of causal attention: gradient with respect to the stacked rows of HeadViews::of.
at::Tensor attention_backward(const at::Tensor& dy, const HeadViews& heads,
                              const AttentionRecord& record);

}  // namespace tinkex::torch_ext::local
