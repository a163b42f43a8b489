#pragma once

#include <span>
#include <vector>

#include "tinkex/custom_loss.h"
#include "tinkex/datum.h"
#include "tinkex/outputs.h"

namespace tinkex::internal {

/// The data of one custom loss: what its two passes send, and what its function reads between them.
///
/// The surrogate. A cross-entropy pass with the weights w adds the gradient of -sum(w * logprobs).
/// With w = -dC/dlogprobs that is the gradient of the custom loss C, by the chain rule, at the
/// weights that gave the logprobs.
class CustomLossBatch {
 public:
  /// Copies the elements of all tensors once, because the function reads them after the call has
  /// returned. `data` must have passed find_custom_loss_problems().
  explicit CustomLossBatch(std::span<const Datum> data);

  /// What is to be sent: at first what the first pass needs, `target_tokens` and `weights`, zeros
  /// where the caller gave none; from differentiate() on what the second does. Both count as the
  /// same number of elements, so both passes have the same chunks.
  std::span<const Datum> data() const noexcept { return data_; }

  /// Calls `loss` with the first pass's result and checks what it gives; the new data() carries the
  /// gradients. Whatever is thrown becomes the error. At most once.
  Result<CustomLossOutput> differentiate(const CustomLoss& loss, ForwardBackwardOutput forward);

 private:
  Result<std::vector<TensorData>> take_logprobs(ForwardBackwardOutput& forward) const;
  void set_gradients(std::span<const TensorData> gradients);

  std::vector<Datum> data_;
  std::vector<NamedTensors> inputs_;  // all that the caller gave, per datum
};

/// The second pass's result as that of the custom loss: with its metrics and its loss as
/// `loss:sum`; the server's own, of the surrogate, moves to `surrogate_loss:sum`.
ForwardBackwardOutput with_custom_loss(ForwardBackwardOutput output, const CustomLossOutput& loss);

}  // namespace tinkex::internal
