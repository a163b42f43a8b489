#pragma once

#include <torch/optim/adamw.h>
#include <torch/optim/optimizer.h>

#include <memory>
#include <tuple>
#include <vector>

#include "tinkex/future.h"
#include "tinkex/outputs.h"
#include "torch_ext/remote_model.h"

namespace tinkex::torch_ext {

/// Settings of RemoteAdamW. The defaults are those of torch::optim::AdamWOptions, so that an
/// optimizer that was ported keeps its meaning: lr 1e-3, beta2 0.999, eps 1e-8, weight decay 0.01.
/// Those of optim_step(AdamParams{}), the API's own, are 1e-4, 0.95, 1e-12 and 0: a loop that goes
/// from one to the other gives all four.
struct RemoteAdamWOptions : public torch::optim::OptimizerCloneableOptions<RemoteAdamWOptions> {
  RemoteAdamWOptions(double lr = 1e-3);  // NOLINT(*-explicit-*): as AdamWOptions
  /// The same settings. Throws Error if they ask for amsgrad, which the API does not have.
  RemoteAdamWOptions(const torch::optim::AdamWOptions& options);  // NOLINT(*-explicit-*)

  TORCH_ARG(double, lr) = 1e-3;
  using Betas = std::tuple<double, double>;
  TORCH_ARG(Betas, betas) = std::make_tuple(0.9, 0.999);
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(double, weight_decay) = 1e-2;
  /// The global L2 norm to which the gradient is scaled down; 0 does not clip.
  TORCH_ARG(double, grad_clip_norm) = 0;

 public:
  double get_lr() const override { return lr(); }
  void set_lr(double lr) override { this->lr(lr); }
};

/// AdamW on the server of a RemoteModel. Sends exactly what its options hold at the time of the
/// step, so LibTorch's learning-rate schedulers work. A model has one optimizer: its moments are
/// on the server, and are saved there by TrainingClient::save_state.
///
/// Throws tinkex::Error; threads as RemoteModel.
class RemoteAdamW final : public torch::optim::Optimizer {
 public:
  explicit RemoteAdamW(const RemoteModel& model, RemoteAdamWOptions options = {});
  /// Refused when it is compiled, with what to write instead.
  template <class Options = RemoteAdamWOptions>
  explicit RemoteAdamW(const std::vector<at::Tensor>&, const Options& = {})
      : RemoteAdamW(RemoteModel(nullptr)) {
    static_assert(sizeof(Options) == 0,
                  "RemoteAdamW takes the model, not its parameters: write RemoteAdamW(model, "
                  "options), and give the parameters of local modules to LibTorch's optimizers");
  }

  /// Applies the gradient that backward() has left on the server, and clears it. Without one it
  /// does nothing, as LibTorch's optimizers do. Gives the closure's loss, if there is a closure.
  /// Waits for the server, unless the model is pipelined.
  torch::Tensor step(LossClosure closure = nullptr) override;
  /// The same without waiting, with the metrics that the server gives. Refusals are thrown.
  Future<OptimStepResponse> step_async();

  /// Of the last step that was waited for.
  const Metrics& metrics() const { return metrics_; }

  /// Refused: the state is on the server.
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

 private:
  RemoteAdamWOptions& only_group();

  std::shared_ptr<remote::TrainingState> state_;
  Metrics metrics_;
};

}  // namespace tinkex::torch_ext
