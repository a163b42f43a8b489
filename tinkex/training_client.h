#pragma once

// The training client.
//
// Order. Every call takes its place in the client's queue (its strand) before it returns. The
// requests of one client leave one at a time, in that order: chunk k + 1 begins after the reply to
// chunk k, and a batch is never interleaved with another thread's. Results are polled side by side
// once the whole batch is accepted, so the next call's requests leave while earlier results are
// still being computed.
//
// What waits. The caller does not wait for the network. forward_backward encodes its data before
// it returns (the caller may reuse its tensors at once; this encoding is the only copy). A call
// waits only while the client's queued, not yet accepted bodies exceed
// ClientOptions::max_queued_bytes (64 MiB): a batch then goes on with its next chunk when an
// earlier body has been accepted. While a batch of
// n chunks is being sent, later submissions of the same client wait their turn for the sum of its n
// send times; polling, other clients and heartbeats do not. Concurrent callers encode side by side,
// each in its own place in the order. On an executor thread (inside `then`) the budget never waits.
//
// Answers. Every future settles: with the result, with the error that stopped it, or with kClosed
// when the service is closed. If chunk k of n cannot be sent, the error names the chunk and lists
// the accepted request ids: their gradients may have been accumulated on the server. Cancelling a
// future keeps what has not left from leaving; what is on the wire is finished.

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "tinkex/custom_loss.h"
#include "tinkex/datum.h"
#include "tinkex/future.h"
#include "tinkex/options.h"
#include "tinkex/outputs.h"
#include "tinkex/params.h"
#include "tinkex/sampling_client.h"

namespace tinkex {

class TrainingConnection;

/// Trains one model. A cheap handle; copies share the model and its order. Thread-safe.
class TrainingClient {
 public:
  /// Users get clients from ServiceClient; tests pass a connection of their own.
  explicit TrainingClient(std::shared_ptr<TrainingConnection> connection)
      : connection_(std::move(connection)) {}

  const std::string& model_id() const;
  /// What the server said about the model when it was created.
  const ModelInfo& info() const;

  /// Computes the loss and adds its gradient to what the model already holds. The loss is a plain
  /// sum over positions and datums; nothing is averaged. Errors in `data` are reported before
  /// anything is sent.
  Future<ForwardBackwardOutput> forward_backward(std::span<const Datum> data, std::string loss_fn,
                                                 LossConfig config = {},
                                                 const CallOptions& call = {});

  /// The same without any gradient.
  Future<ForwardBackwardOutput> forward(std::span<const Datum> data, std::string loss_fn,
                                        LossConfig config = {}, const CallOptions& call = {});

  /// Like forward_backward, with a loss of your own: any function of the logprobs of the target
  /// tokens. `loss:sum` in the result is the function's loss.
  ///
  /// Two passes. The first one, a forward, gives the logprobs; then `loss` runs; the second one, a
  /// forward_backward whose weights are the negated gradients, trains. Both passes together are one
  /// place in the order: what was called before comes before both, what is called later waits for
  /// both and for `loss`. It costs a forward more than forward_backward, and one copy of `data`.
  ///
  /// Data. `target_tokens`, dense, of shape [N] or [N, K]; `weights`, if they are there, are sent
  /// in the first pass only; inputs of other names are for `loss` and are not sent. Errors. If the
  /// first pass or `loss` fails nothing is trained. If the second pass fails, it is as with
  /// forward_backward. Servers must sum cross-entropy over positions and datums, as the API says.
  /// Where one divides by the weights the gradient is scaled.
  Future<ForwardBackwardOutput> forward_backward_custom(std::span<const Datum> data,
                                                        CustomLoss loss,
                                                        const CallOptions& call = {});

  /// Applies the accumulated gradient and clears it.
  Future<OptimStepResponse> optim_step(AdamParams params = {}, const CallOptions& call = {});

  /// Saves weights and optimizer state under a name (1 to 128 of
  /// `[A-Za-z0-9_.-]`, the first not a dot).
  Future<SaveWeightsResponse> save_state(std::string name, bool overwrite = false,
                                         const CallOptions& call = {});

  /// Replaces this model's weights by a training checkpoint's.
  Future<LoadWeightsResponse> load_state(std::string path, bool with_optimizer = true,
                                         const CallOptions& call = {});

  /// Saves what a sampler needs, under such a name, and gives its `tinker://` path.
  Future<SaveWeightsForSamplerResponse> save_weights_for_sampler(std::string name,
                                                                 const CallOptions& call = {});

  /// Snapshots the current weights without a name and opens a sampling session on them. The
  /// snapshot contains exactly the steps submitted before it.
  Future<SamplingClient> save_weights_and_get_sampling_client(const CallOptions& call = {});

  /// Lets the server forget the model, before its session ends, which lets go of it in any case: a
  /// server has room for so many. What was saved stays, and so do sampling clients. Outside of the
  /// order: results that are under way end with an error, and every later call does.
  /// Errors: with http_status() 404 where the server does not know the model, or does not offer
  /// this. A 404 to a repeat, after a reply that was lost or a 5xx, counts as success: the model is
  /// gone.
  Future<Unit> unload(const CallOptions& call = {});

 private:
  std::shared_ptr<TrainingConnection> connection_;
};

}  // namespace tinkex
