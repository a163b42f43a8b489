#pragma once

#include <functional>
#include <span>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "tinkex/outputs.h"
#include "tinkex/tensor_data.h"

namespace tinkex {

/// What a custom loss function gives.
struct CustomLossOutput {
  /// The loss of the whole batch, summed, not averaged. Reported as `loss:sum`; has no influence on
  /// the gradient.
  double loss = 0;
  /// The loss's derivative by each logprob: one dense array per datum, of the shape of its
  /// logprobs, finite. They must own their memory (TensorData::from, or share with an owner): they
  /// are read after the function has returned.
  std::vector<TensorData> gradients;
  /// Added to the metrics of the result, in place of the server's of the same name.
  Metrics metrics;
};

/// Computes a loss from the logprobs of the target tokens. `logprobs[i]` belongs to `data[i]` and
/// has the shape of its `target_tokens`; both spans are valid until the function returns.
///
/// Threads. It runs once, on the client's executor, at the same time as continuations and as other
/// custom losses. It may compute for long; it must not wait for another call of the same client,
/// which waits for it.
/// Errors. What it returns or throws becomes the error of the call; nothing is trained then.
using CustomLoss = std::function<Result<CustomLossOutput>(std::span<const Datum> data,
                                                          std::span<const TensorData> logprobs)>;

}  // namespace tinkex
