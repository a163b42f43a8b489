#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "torch_ext/local/attention.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/kernels.h"
#include "torch_ext/local/kv_cache.h"
#include "torch_ext/local/linear.h"

namespace tinkex::torch_ext::local {

/// What the forward pass of a layer leaves for its backward pass: all that is not cheap to compute
/// once more.
struct LayerRecord {
  at::Tensor input, input_inverse, qkv, qkv_low_rank;
  HeadNormRecord q_norm, k_norm;
  AttentionRecord attention;
  at::Tensor o_low_rank;
  at::Tensor middle, middle_inverse, gate_up, gate_up_low_rank, down_low_rank;
};
using DecoderRecord = std::vector<LayerRecord>;

/// Tokens, or other ids, as an int64 tensor (n).
at::Tensor token_tensor(const std::vector<std::int64_t>& ids);

/// The embeddings of `tokens`, (n, d), in the type that is computed in.
at::Tensor embed(const BaseModel& model, const at::Tensor& tokens);

/// Runs all layers over `tokens`, int64 (batch * length) in row-major order, and returns the
/// residual stream before the final norm, (batch * length, d). Positions are causal, so padding at
/// the end of a row changes nothing before it.
///
/// `record`, if not null, receives what decoder_backward needs; `cache`, if not null, the keys and
/// values of a single sequence, for which it has room. `cancelled`, if not empty, is asked before
/// each layer: once it is true, an undefined tensor is returned.
at::Tensor decoder_forward(const BaseModel& model, const AdapterViews& adapter,
                           const at::Tensor& tokens, std::int64_t length, DecoderRecord* record,
                           KvCache* cache, const std::function<bool()>& cancelled = {});

/// Adds to `gradient` the gradients of the adapters, given that of the residual stream, which is
/// used up.
void decoder_backward(const BaseModel& model, const AdapterViews& adapter,
                      const DecoderRecord& record, std::int64_t length, at::Tensor d_stream,
                      AdapterViews& gradient);

}  // namespace tinkex::torch_ext::local
