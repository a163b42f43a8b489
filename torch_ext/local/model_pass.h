#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/adapter.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/loss_inputs.h"

namespace tinkex::torch_ext::local {

/// What a pass over a batch gives, in the order of the datums.
struct PassOutput {
  std::vector<std::vector<float>> logprobs;  ///< N * K per datum.
  double loss = 0;
  at::Tensor gradient;  ///< In the layout of the adapter; undefined for a forward pass.
};

/// Positions with padding that go through the model at once.
inline constexpr std::int64_t kMicroBatchTokens = 2048;

/// Runs the model over `data` and, if `with_gradient`, backward. Fails without partial result if
/// the loss or the gradient is not finite; the message names the datum.
Result<PassOutput> run_pass(const BaseModel& model, const Adapter& adapter, const LossSpec& spec,
                            std::span<const PreparedDatum> data, bool with_gradient,
                            std::int64_t token_budget = kMicroBatchTokens);

}  // namespace tinkex::torch_ext::local
