#pragma once

#include <ATen/core/Tensor.h>

#include "tinkex/error.h"
#include "torch_ext/datum_convert.h"

namespace tinkex::torch_ext::remote {

/// Refuses an input of a server's loss that requires a gradient while gradients are on: none comes
/// back over the wire, so the loss would cut the caller's graph in silence. Errors:
/// kInvalidArgument naming the tensor.
Status check_no_gradient(const at::Tensor& tensor, TensorName name);
/// The same of all loss inputs.
Status check_no_gradient(const NamedTensorLists& loss_fn_inputs);

}  // namespace tinkex::torch_ext::remote
