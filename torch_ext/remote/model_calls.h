#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/params.h"
#include "torch_ext/remote/training_state.h"

namespace tinkex::torch_ext::remote {

using StatePtr = std::shared_ptr<TrainingState>;

/// The calls of a remote model, as remote_model.h describes them; results are in the graph if
/// gradients are on. Each blocks and throws tinkex::Error.
at::Tensor padded_logprobs(const StatePtr& state, const at::Tensor& tokens,
                           const at::Tensor& targets);
std::vector<at::Tensor> list_logprobs(const StatePtr& state, const std::vector<at::Tensor>& tokens,
                                      const std::vector<at::Tensor>& targets);
at::Tensor loss_of(const StatePtr& state, std::span<const Datum> data, const std::string& loss_fn,
                   const LossConfig& config);

}  // namespace tinkex::torch_ext::remote
