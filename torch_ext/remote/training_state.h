#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "tinkex/datum.h"
#include "tinkex/outputs.h"
#include "tinkex/params.h"
#include "tinkex/training_client.h"
#include "torch_ext/remote/gradient_ledger.h"

namespace tinkex::torch_ext::remote {

/// What a remote gradient leaves in the gradient of the anchor. A power of two, so that sums of it
/// are exact; large, so that clipping always changes it.
inline constexpr double kStandIn = 0x1p100;

/// A parameter for a remote model: float64, one element, 0.
at::Tensor new_anchor();

/// A remote model in training: its client, and the anchor. Autograd needs a parameter that a loss
/// depends on; the anchor is that parameter, one float64 number that stays 0. Each backward pass
/// leaves kStandIn in its gradient, so that what changes gradients afterwards is noticed.
///
/// Shared by the model, its optimizer and the graphs of its forward passes; never owned by a thread
/// of the library (the ledger is). Call it from one thread at a time, or from several backward
/// passes at once. Throws tinkex::Error.
class TrainingState {
 public:
  /// `anchor`: see new_anchor(). `pipelined`: backward passes and steps do not wait for their
  /// results. States of one model share its ledger.
  TrainingState(TrainingClient client, at::Tensor anchor, bool pipelined,
                std::shared_ptr<GradientLedger> ledger = std::make_shared<GradientLedger>());

  TrainingClient& client() { return client_; }
  const at::Tensor& anchor() const { return anchor_; }
  GradientLedger& ledger() const { return *ledger_; }
  bool pipelined() const { return pipelined_; }

  /// Throws if the anchor's value was changed: an optimizer of LibTorch's was given it.
  void check_anchor() const;
  /// The first failure of what has finished, once.
  void report_failure();

  ForwardBackwardOutput forward(std::span<const Datum> data, const std::string& loss_fn,
                                const LossConfig& config);
  /// Sends the gradients of `graphs` forward passes. Waits for the result unless pipelined.
  void backward(std::span<const Datum> data, std::int64_t graphs);
  /// A loss that the server computes, with its gradient, which is open until backward() of it.
  ForwardBackwardOutput loss(std::span<const Datum> data, const std::string& loss_fn,
                             const LossConfig& config);
  /// The same without waiting and without a graph: the gradient counts at once.
  Future<ForwardBackwardOutput> forward_backward(std::span<const Datum> data,
                                                 const std::string& loss_fn,
                                                 const LossConfig& config);
  /// Sends a step, without waiting. With no gradient it sends nothing and gives no metrics.
  Future<OptimStepResponse> step(const AdamParams& params);

  /// Waits for a step and throws its failure. Absent: it is pipelined and under way.
  std::optional<OptimStepResponse> finish(Future<OptimStepResponse> step);

  /// The gradient that the server holds counts as wanted, whatever it is.
  void accept_server_gradient();
  /// Waits for what is under way, and throws its first failure.
  void synchronize();

 private:
  /// Makes the anchor's gradient say what the server holds.
  void restore_anchor();

  TrainingClient client_;
  const at::Tensor anchor_;
  const bool pipelined_;
  const std::shared_ptr<GradientLedger> ledger_;
};

}  // namespace tinkex::torch_ext::remote
