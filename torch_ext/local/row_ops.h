#pragma once

// The row kernels on tensors, on as many threads as ATen may use here. All are float32 or float64;
// weights may be bfloat16 beside float32 rows.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "torch_ext/local/linear.h"
#include "torch_ext/local/sequence_cache.h"

namespace tinkex::torch_ext::local {

/// y = scale * x W^T for the rows of x (n, in), with W (out, in); or, if `add`, y (n, out) += x
/// W^T. The rows of x and y may have any stride.
void row_product(at::Tensor& y, const at::Tensor& x, const at::Tensor& weight, double scale,
                 bool add);

/// Adds x W^T + (scale * x A^T) B^T to y (n, out), as linear() does but for rounding.
void add_row_linear(at::Tensor& y, const at::Tensor& x, const at::Tensor& weight,
                    const LoraViews& lora);

/// silu(gate) * up of the rows (gate, up) of `gate_up` (n, 2 * inner).
at::Tensor gated_rows(const at::Tensor& gate_up);

/// The gradient of `gate_up`, (n, 2 * inner), given that of gated_rows, (n, inner).
at::Tensor gated_rows_backward(const at::Tensor& gate_up, const at::Tensor& d_out);

/// Turns the rows (n, vocab), logits, into log-probabilities, in place.
void log_softmax_rows(at::Tensor& rows);

/// Turns rows of log-probabilities (n, vocab) into the gradient of a loss with respect to the
/// logits, in place: row = -sum(g) * exp(row), then g[k] is added at targets[k]. Both `targets` and
/// `g` are (n, columns).
void logprobs_to_logit_gradient(at::Tensor& rows, const std::int64_t* targets, const double* g,
                                std::int64_t columns);

/// Attention of the newest position of each sequence over all of its positions: rows of
/// (heads + 2 kv heads) * head_dim in, whose keys and values are in the caches already; rows of
/// heads * head_dim out.
at::Tensor attend_rows(const at::Tensor& qkv, std::span<SequenceCache* const> caches,
                       std::size_t layer, const ModelConfig& config);

}  // namespace tinkex::torch_ext::local
