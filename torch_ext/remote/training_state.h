#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "tinkex/datum.h"
#include "tinkex/outputs.h"
#include "tinkex/params.h"
#include "tinkex/training_client.h"
#include "torch_ext/remote/gradient_ledger.h"

namespace tinkex::torch_ext::remote {

/// What a remote gradient leaves in the gradient of the anchor. A power of two, so that sums of it
/// are exact; large, so that clipping always changes it.
inline constexpr double kStandIn = 0x1p100;

/// Forward passes whose gradients are sent together, at the end of their backward pass.
struct Graphs {
  std::int64_t count = 0;
  std::optional<std::int64_t> before = std::nullopt;  ///< As in GradientLedger::Pass.
  std::int64_t steps = 0;  ///< What the ledger said before the oldest was sent.
};

/// What keeps the service of a model open; null if somebody else does.
struct ServiceLease {
  std::shared_ptr<const void> service;
  /// Whether calls that are under way keep it, too, when the model is dropped. Their threads may
  /// let go of the last copy then, and the process may exit before: only for a lease whose owner
  /// has made sure of both.
  bool kept_by_calls = false;
};

/// A parameter for a remote model: float64, one element, 0.
at::Tensor new_anchor();

/// A remote model in training: its client, and the anchor. Autograd needs a parameter that a loss
/// depends on; the anchor is that parameter, one float64 number that stays 0. Each backward pass
/// leaves kStandIn in its gradient, so that what changes gradients afterwards is noticed.
///
/// Shared by the model, its optimizer and the graphs of its forward passes; never owned by a thread
/// of the library (the ledger is). backward() may run on several threads at once; the rest runs on
/// one, and beside no backward(), for it may write the anchor's gradient.
/// Throws tinkex::Error: a call that waits its own failure; what nobody waited for, before anything
/// else is sent.
class TrainingState {
 public:
  /// `anchor`: see new_anchor(). `pipelined`: backward passes and steps do not wait for their
  /// results. States of one model share its ledger. backward(), which no kernel of an op is
  /// around, holds what `before_waiting` gives.
  TrainingState(TrainingClient client, at::Tensor anchor, bool pipelined, ServiceLease lease,
                std::shared_ptr<GradientLedger> ledger = std::make_shared<GradientLedger>(),
                std::function<std::shared_ptr<const void>()> before_waiting = nullptr)
      : lease_(std::move(lease)),
        client_(std::move(client)),
        anchor_(std::move(anchor)),
        pipelined_(pipelined),
        ledger_(std::move(ledger)),
        before_waiting_(std::move(before_waiting)) {}

  TrainingClient& client() { return client_; }
  const at::Tensor& anchor() const { return anchor_; }
  GradientLedger& ledger() const { return *ledger_; }
  bool pipelined() const { return pipelined_; }

  ForwardBackwardOutput forward(std::span<const Datum> data, const std::string& loss_fn,
                                const LossConfig& config);
  /// Sends the gradients of `graphs`. Waits for the result unless pipelined.
  void backward(std::span<const Datum> data, const Graphs& graphs);
  /// A loss that the server computes, with its gradient, which is open until the ticket is settled.
  std::pair<ForwardBackwardOutput, GradientLedger::Ticket> loss(std::span<const Datum> data,
                                                                const std::string& loss_fn,
                                                                const LossConfig& config);
  /// The same without waiting and without a graph: the gradient counts at once. Refused if the
  /// anchor is frozen, as are steps that have no gradient to apply.
  Future<ForwardBackwardOutput> forward_backward(std::span<const Datum> data,
                                                 const std::string& loss_fn,
                                                 const LossConfig& config);
  /// Sends a step and, unless pipelined, waits. Absent: pipelined, or there was no gradient, in
  /// which case nothing was sent.
  std::optional<OptimStepResponse> step(const AdamParams& params);
  /// The same without waiting; with no gradient it is settled, without metrics.
  Future<OptimStepResponse> step_async(const AdamParams& params);

  /// Loads a checkpoint and waits. The server then holds no gradient.
  void load_state(const std::string& path, bool with_optimizer);
  /// The gradient that the server holds counts as wanted, whatever it is.
  void accept_server_gradient();
  /// Waits for what is under way, and throws its first failure.
  void synchronize();

 private:
  /// GradientLedger::watch() of a call that may outlive the model, and may keep its service until
  /// then. Lets go of it before the result is told: a program may end with that.
  template <class T, class End>
  Future<T> watch(Future<T> sent, const End& end, Report report) {
    const auto held = std::make_shared<std::shared_ptr<const void>>(
        lease_.kept_by_calls ? lease_.service : nullptr);
    return ledger_->watch(
        std::move(sent),
        [end, held](GradientLedger& ledger, const auto& result, Report heard) {
          end(ledger, result, heard);
          held->reset();
        },
        report);
  }
  /// Waits for `sent`, tells `end` and gives the value. On an executor thread, where nobody can
  /// wait, the call goes on and is watched; how it ends then, the caller has not heard.
  template <class T, class End>
  T wait_for(Future<T> sent, const End& end);
  /// Throws what an earlier call left, and if the anchor's value was changed: an optimizer of
  /// LibTorch's was given it.
  void check_before();
  void throw_failure();
  std::optional<GradientLedger::Ticket> begin_step();
  /// Makes the anchor's gradient show again what a refused step has left on the server.
  void restore_anchor();

  ServiceLease lease_;
  TrainingClient client_;
  const at::Tensor anchor_;
  const bool pipelined_;
  const std::shared_ptr<GradientLedger> ledger_;
  const std::function<std::shared_ptr<const void>()> before_waiting_;
};

}  // namespace tinkex::torch_ext::remote
