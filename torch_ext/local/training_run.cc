#include "torch_ext/local/training_run.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "torch_ext/backend_errors.h"
#include "torch_ext/local/adamw.h"
#include "torch_ext/local/guard.h"
#include "torch_ext/local/loss_inputs.h"
#include "torch_ext/local/losses.h"
#include "torch_ext/local/model_pass.h"
#include "torch_ext/local/random.h"
#include "torch_ext/local/refusal.h"

namespace tinkex::torch_ext::local {
namespace {

Result<std::vector<PreparedDatum>> prepare(std::span<const Datum> data, const LossSpec& spec,
                                           const ModelConfig& model) {
  if (data.empty()) return refuse("the batch is empty; give at least one datum");
  std::vector<PreparedDatum> prepared;
  prepared.reserve(data.size());
  for (std::size_t i = 0; i < data.size(); ++i) {
    Result<PreparedDatum> datum = prepare_datum(data[i], i, spec, model);
    if (!datum) return datum.error();
    prepared.push_back(std::move(*datum));
    const bool with_targets = !prepared.back().target_shape.empty();
    if (with_targets == prepared.front().target_shape.empty()) {
      return refuse("datum " + std::to_string(i) + (with_targets ? ": has" : ": lacks") +
                    " target_tokens, unlike datum 0; give them to all datums or to none");
    }
  }
  return prepared;
}

ForwardBackwardOutput output_of(PassOutput pass, std::span<const PreparedDatum> data) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = "TorchLossReturn";
  std::size_t tokens = 0;
  std::size_t loss_tokens = 0;
  for (std::size_t i = 0; i < data.size(); ++i) {
    const PreparedDatum& datum = data[i];
    NamedTensors outputs;
    if (!datum.target_shape.empty()) {
      outputs.emplace_back("logprobs",
                           TensorData::from(std::move(pass.logprobs[i]), datum.target_shape));
    }
    output.loss_fn_outputs.push_back(std::move(outputs));
    tokens += datum.tokens.size();
    for (std::size_t at = 0; at < datum.tokens.size(); ++at) {
      loss_tokens += datum.has_coefficient(at) ? 1 : 0;
    }
  }
  output.metrics = {{"loss:sum", pass.loss},
                    {"num_tokens:sum", static_cast<double>(tokens)},
                    {"num_loss_tokens:sum", static_cast<double>(loss_tokens)}};
  return output;
}

Status same_shape(const CheckpointInfo& info, const LoraConfig& run) {
  const LoraConfig& saved = info.lora;
  if (saved.rank != run.rank) {
    return refuse("the checkpoint has LoRA rank " + std::to_string(saved.rank) +
                  " but this run has rank " + std::to_string(run.rank) +
                  "; create the run with the checkpoint's rank");
  }
  const auto flags = [](const LoraConfig& lora) {
    return std::string(lora.train_attn ? " attn" : "") + (lora.train_mlp ? " mlp" : "") +
           (lora.train_unembed ? " unembed" : "");
  };
  if (flags(saved) != flags(run)) {
    return refuse("the checkpoint trains" + flags(saved) + " but this run trains" + flags(run) +
                  "; create the run with the checkpoint's train flags");
  }
  return ok_status();
}

}  // namespace

TrainingRun::TrainingRun(std::shared_ptr<const BaseModel> model, LoraConfig lora,
                         std::shared_ptr<const Adapter> adapter)
    : model_(std::move(model)), lora_(lora), adapter_(std::move(adapter)) {}

Result<std::unique_ptr<TrainingRun>> TrainingRun::create(std::shared_ptr<const BaseModel> model,
                                                         const LoraConfig& config) {
  return guarded([&]() -> Result<std::unique_ptr<TrainingRun>> {
    LoraConfig lora = config;
    if (!lora.seed) lora.seed = static_cast<std::int64_t>(fresh_seed());
    const auto layout = LoraLayout::create(model->config(), lora);
    if (!layout) return layout.error();
    auto adapter =
        Adapter::random(*layout, static_cast<std::uint64_t>(*lora.seed), model->compute_dtype());
    return std::unique_ptr<TrainingRun>(
        new TrainingRun(std::move(model), lora, std::move(adapter)));
  });
}

Result<ForwardBackwardOutput> TrainingRun::forward_backward(
    std::span<const Datum> data, std::string_view loss_fn, const LossConfig& config,
    bool forward_only, const std::atomic<bool>* cancelled, const LogitsLosses& own) {
  return guarded([&]() -> Result<ForwardBackwardOutput> {
    const c10::InferenceMode inference;
    const Result<LossSpec> spec = parse_loss(loss_fn, config, own);
    if (!spec) return spec.error();
    const auto prepared = prepare(data, *spec, model_->config());
    if (!prepared) return prepared.error();
    PassOptions options;
    options.cancelled = cancelled;
    Result<PassOutput> pass =
        run_pass(*model_, *adapter_, *spec, *prepared, !forward_only, options);
    if (!pass) return pass.error();
    const at::Tensor gradient = std::move(pass->gradient);
    ForwardBackwardOutput output = output_of(std::move(*pass), *prepared);
    // Last, because nothing can fail any more.
    if (gradient.defined())
      accumulated_ = accumulated_.defined() ? accumulated_.add(gradient) : gradient;
    return output;
  });
}

Result<OptimStepResponse> TrainingRun::optim_step(const AdamParams& params) {
  return guarded([&]() -> Result<OptimStepResponse> {
    const c10::InferenceMode inference;
    if (!accumulated_.defined()) {
      return refuse(std::string(kNoGradients) + "; call forward_backward first");
    }
    Result<AdamWResult> next = adamw(adapter_->flat(), accumulated_, optimizer_, params);
    if (!next) return next.error();
    adapter_ = Adapter::from_flat(adapter_->shared_layout(), std::move(next->parameters));
    optimizer_ = std::move(next->state);
    accumulated_ = at::Tensor();
    OptimStepResponse response;
    response.metrics = {{"grad_norm", next->gradient_norm},
                        {"learning_rate", params.learning_rate},
                        {"step", static_cast<double>(optimizer_.step)}};
    return response;
  });
}

Status TrainingRun::save(const std::filesystem::path& dir, bool overwrite) const {
  return write_checkpoint(dir, *model_, *adapter_, lora_, &optimizer_, overwrite);
}

Status TrainingRun::load(const std::filesystem::path& dir, bool with_optimizer) {
  const Result<CheckpointInfo> info = read_checkpoint_info(dir);
  if (!info) return info.error();
  Status same = same_shape(*info, lora_);
  if (!same) return same;
  Result<std::shared_ptr<const Adapter>> adapter = read_adapter(dir, *model_);
  if (!adapter) return adapter.error();
  OptimizerState optimizer;
  if (with_optimizer) {
    Result<OptimizerState> state =
        read_optimizer(dir, (*adapter)->layout(), model_->compute_dtype());
    if (!state) return state.error();
    optimizer = std::move(*state);
  }
  adapter_ = Adapter::from_flat(adapter_->shared_layout(), (*adapter)->flat());
  optimizer_ = std::move(optimizer);
  discard_gradients();
  return ok_status();
}

}  // namespace tinkex::torch_ext::local
