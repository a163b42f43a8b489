#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/loss_inputs.h"
#include "torch_ext/local/losses.h"

namespace tinkex::torch_ext::local {

/// A user's loss of one datum.
struct OwnLoss {
  double value = 0;
  at::Tensor d_logits;  ///< (N, vocab), contiguous; undefined for a forward pass.
};

/// Memory for `like`'s number of rows of logits that autograd may use, also in inference mode.
at::Tensor empty_logits(const at::Tensor& like, std::int64_t vocab);

/// The log-probabilities of the datum's targets, if it has any.
void read_target_logprobs(const at::Tensor& logits, const PreparedDatum& datum,
                          std::vector<float>& out);

/// Calls the function of a loss of kind kOwn with `logits` of empty_logits(), which require grad
/// from then on. Whatever it does wrong is the caller's mistake; messages begin with
/// "datum <index>".
Result<OwnLoss> own_loss(const LossSpec& spec, const PreparedDatum& datum, std::size_t index,
                         const at::Tensor& logits, bool with_gradient);

}  // namespace tinkex::torch_ext::local
