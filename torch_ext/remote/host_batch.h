#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "torch_ext/datum_convert.h"

namespace tinkex::torch_ext::remote {

/// The batch of a loss that the server computes, as Datums. They borrow the caller's tensors, see
/// borrow_datums, or what is kept here: copies of those on CUDA devices, see HostCopies.
class HostBatch {
 public:
  /// Errors: as check_no_gradient, before anything is copied, and as borrow_datums.
  static Result<HostBatch> of(const std::vector<at::Tensor>& tokens,
                              NamedTensorLists loss_fn_inputs);

  std::span<const Datum> datums() const { return datums_; }

 private:
  std::vector<at::Tensor> tokens_;  ///< Empty if none had to be copied.
  NamedTensorLists loss_fn_inputs_;
  std::vector<Datum> datums_;
};

}  // namespace tinkex::torch_ext::remote
