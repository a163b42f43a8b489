#pragma once

#include <ATen/core/Tensor.h>

#include "tinkex/error.h"
#include "torch_ext/datum_convert.h"

namespace tinkex::torch_ext {

/// That a server's loss would not cut a graph in silence: its inputs are numbers on the wire, and
/// none of their gradients comes back. Errors: kInvalidArgument naming the tensor, if it requires a
/// gradient while gradients are on.
Status check_no_gradient(const at::Tensor& tensor, TensorName name);
/// The same of all loss inputs.
Status check_no_gradient(const NamedTensorLists& loss_fn_inputs);

}  // namespace tinkex::torch_ext
