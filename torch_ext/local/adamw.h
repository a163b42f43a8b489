#pragma once

#include <ATen/core/Tensor.h>

#include "tinkex/error.h"
#include "tinkex/params.h"
#include "torch_ext/local/checkpoint.h"

namespace tinkex::torch_ext::local {

/// Result of an optimizer step. The tensors are new; the old ones are as they were.
struct AdamWResult {
  at::Tensor parameters;
  OptimizerState state;
  double gradient_norm = 0;  ///< L2, before clipping.
};

/// One AdamW step with decoupled weight decay:
///   g *= min(1, clip / (norm + 1e-6)) if clip > 0;  theta *= 1 - lr wd;
///   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
///   theta -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps).
/// Refuses settings that the client refuses too. Fails if a new parameter would not be finite.
Result<AdamWResult> adamw(const at::Tensor& parameters, const at::Tensor& gradient,
                          const OptimizerState& state, const AdamParams& params);

}  // namespace tinkex::torch_ext::local
