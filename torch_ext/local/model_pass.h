#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
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

/// How a batch is cut up. An equal budget and equal input give equal bits, with `lanes` 0 on any
/// number of threads, and with any `lanes` above 0; the two may round the gradient differently.
struct PassOptions {
  /// Positions with padding that go through the model at once; bounds the memory of activations. So
  /// many use the matrix kernels about as well as more do.
  std::int64_t token_budget = 256;
  /// Micro-batches computed side by side, each on a thread of its own: less waiting for each other
  /// than threads inside every operation. 0 means as many as ATen may use on this thread, up to 64,
  /// and one, with threads inside operations, for models whose weights do not fit into a core's
  /// cache.
  int lanes = 0;
  /// May be null. Once it is true the pass fails with kCancelled before its next micro-batch.
  const std::atomic<bool>* cancelled = nullptr;
};

/// Runs the model over `data` and, if `with_gradient`, backward. Fails without partial result if
/// the loss or the gradient is not finite (the message names the datum, of several always the
/// same), or if it is cancelled.
Result<PassOutput> run_pass(const BaseModel& model, const Adapter& adapter, const LossSpec& spec,
                            std::span<const PreparedDatum> data, bool with_gradient,
                            const PassOptions& options = {});

}  // namespace tinkex::torch_ext::local
