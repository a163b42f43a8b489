#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/options.h"
#include "torch_ext/explanation.h"

namespace tinkex::torch_ext::remote {

/// For whom a call is explained.
struct Explained {
  ChunkLimits limits;  ///< Those of the service.
  bool train = true;   ///< Whether results would be in a graph: see wants_gradient().
};

/// How the calls of model_calls.h would travel, with the backward() that follows them. They check
/// their arguments alike and send nothing. Throw tinkex::Error.
Explanation explain_padded(const Explained& how, const at::Tensor& tokens,
                           const at::Tensor& targets);
Explanation explain_lists(const Explained& how, const std::vector<at::Tensor>& tokens,
                          const std::vector<at::Tensor>& targets);
Explanation explain_loss(const Explained& how, std::span<const Datum> data,
                         const std::string& loss_fn);

}  // namespace tinkex::torch_ext::remote
