#pragma once

// Losses of your own over whole logits, for the embedded backend: BackendOptions::losses.

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "tinkex/error.h"
#include "tinkex/params.h"

namespace torch::jit {
struct Module;
}

namespace tinkex::torch_ext {

/// What a loss gets beside the logits. Copies, which it may keep or overwrite.
struct LossInputs {
  /// The datum's `loss_fn_inputs` under their names, int64 or float32 as the API carries them, and
  /// `tokens` (N) int64, what the model read. Sparse inputs are sparse CSR tensors.
  std::map<std::string, at::Tensor, std::less<>> tensors;
  /// The `loss_fn_config` of the call.
  LossConfig settings;

  /// The tensor of that name. Throws an Error that lists the names if there is none.
  const at::Tensor& operator[](std::string_view name) const;
};

/// The loss of one datum, a scalar; a batch's is the plain sum. It is called once per datum, with
/// `logits` (N, vocab) float32, row i after token i. They require grad, except in a forward pass;
/// the gradient is autograd's.
///
/// Threads: it is called on several threads at a time, each with a datum of its own; what it
/// captures must bear that. It must not wait for the backend that calls it.
/// Errors: what it throws fails the call, as do a result that is no finite number and one that
/// does not depend on the logits. The message names the loss and the datum; nothing is trained.
using LogitsLoss = std::function<at::Tensor(const at::Tensor& logits, const LossInputs& inputs)>;

/// Losses by name.
using LogitsLosses = std::map<std::string, LogitsLoss, std::less<>>;

/// The loss that TorchScript computes: `forward(self, logits: Tensor, inputs: Dict[str, Tensor]) ->
/// Tensor`, where `inputs` is LossInputs::tensors. Further arguments, `float` or `str`, get the
/// settings of their names. Shares the module, which must not be changed any more; on several
/// threads as above.
/// Errors: kInvalidArgument if the module has no such `forward`.
Result<LogitsLoss> module_loss(torch::jit::Module module);

}  // namespace tinkex::torch_ext
