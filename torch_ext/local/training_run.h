#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "tinkex/outputs.h"
#include "tinkex/params.h"
#include "torch_ext/local/adapter.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/checkpoint.h"
#include "torch_ext/logits_loss.h"

namespace tinkex::torch_ext::local {

/// Fine-tuning of one adapter on one base model.
///
/// Every call either takes effect as a whole or leaves the run exactly as it was. Wrong input is
/// kInvalidArgument with category user; the message names the datum and what to change.
///
/// Threads: one call at a time; snapshot() results may be used anywhere. The thread that computes
/// must have called at::init_num_threads() once.
class TrainingRun {
 public:
  /// Starts with a fresh adapter. Without a seed in `config` one is drawn; lora_config() has it.
  static Result<std::unique_ptr<TrainingRun>> create(std::shared_ptr<const BaseModel> model,
                                                     const LoraConfig& config);

  /// Computes the log-probabilities of the targets and the loss, a plain sum over all positions of
  /// all datums, and adds its gradient to the accumulators unless `forward_only`.
  ///
  /// `logprobs` of the output is float32, in the shape of `target_tokens`; a loss of `own` needs
  /// none, and then there is no such output.
  /// Metrics: `loss:sum`, `num_tokens:sum` (positions), `num_loss_tokens:sum` (positions that have
  /// a weight or an advantage other than 0; for a loss of `own` all).
  ///
  /// `cancelled` may be null; once it is true the call returns kCancelled within the time of one
  /// micro-batch, and the accumulators are as they were.
  Result<ForwardBackwardOutput> forward_backward(std::span<const Datum> data,
                                                 std::string_view loss_fn, const LossConfig& config,
                                                 bool forward_only,
                                                 const std::atomic<bool>* cancelled = nullptr,
                                                 const LogitsLosses& own = {});

  /// Applies the accumulated gradients by AdamW and clears them.
  /// Metrics: `grad_norm` (L2 over all adapters, before clipping), `learning_rate`, `step`.
  Result<OptimStepResponse> optim_step(const AdamParams& params);

  /// Forgets gradients that no optim_step has applied.
  void discard_gradients() { accumulated_ = at::Tensor(); }
  bool has_gradients() const { return accumulated_.defined(); }

  /// The adapter as it is now; later steps do not change it.
  std::shared_ptr<const Adapter> snapshot() const { return adapter_; }

  /// Writes weights and optimizer state to the new directory `dir`, atomically: see checkpoint.h.
  /// Gradients that were not applied are not part of it.
  Status save(const std::filesystem::path& dir, bool overwrite = false) const;
  /// Takes weights, and the optimizer state too if `with_optimizer` (else it starts anew), from a
  /// checkpoint of a run of the same base model, rank and train flags. Clears gradients.
  Status load(const std::filesystem::path& dir, bool with_optimizer);

  const BaseModel& model() const { return *model_; }
  /// Always has a seed.
  const LoraConfig& lora_config() const { return lora_; }
  std::int64_t trainable_parameters() const { return adapter_->layout().size(); }
  /// Optimizer steps taken.
  std::int64_t step() const { return optimizer_.step; }
  /// Gradient of the pending accumulation in the layout of the adapter; undefined if none.
  const at::Tensor& accumulated_gradient() const { return accumulated_; }

 private:
  TrainingRun(std::shared_ptr<const BaseModel> model, LoraConfig lora,
              std::shared_ptr<const Adapter> adapter);

  std::shared_ptr<const BaseModel> model_;
  LoraConfig lora_;
  std::shared_ptr<const Adapter> adapter_;
  OptimizerState optimizer_;
  at::Tensor accumulated_;
};

}  // namespace tinkex::torch_ext::local
