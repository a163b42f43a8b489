#include "tinkex/training_client.h"

#include <utility>

#include "tinkex/connection.h"

namespace tinkex {

const std::string& TrainingClient::model_id() const { return connection_->info().model_id; }

const ModelInfo& TrainingClient::info() const { return connection_->info(); }

Future<ForwardBackwardOutput> TrainingClient::forward_backward(std::span<const Datum> data,
                                                               std::string loss_fn,
                                                               LossConfig config,
                                                               const CallOptions& call) {
  return connection_->forward_backward(data, std::move(loss_fn), std::move(config), false, call);
}

Future<ForwardBackwardOutput> TrainingClient::forward(std::span<const Datum> data,
                                                      std::string loss_fn, LossConfig config,
                                                      const CallOptions& call) {
  return connection_->forward_backward(data, std::move(loss_fn), std::move(config), true, call);
}

Future<ForwardBackwardOutput> TrainingClient::forward_backward_custom(std::span<const Datum> data,
                                                                      CustomLoss loss,
                                                                      const CallOptions& call) {
  return connection_->forward_backward_custom(data, std::move(loss), call);
}

Future<OptimStepResponse> TrainingClient::optim_step(AdamParams params, const CallOptions& call) {
  return connection_->optim_step(params, call);
}

Future<SaveWeightsResponse> TrainingClient::save_state(std::string name, bool overwrite,
                                                       const CallOptions& call) {
  return connection_->save_state(std::move(name), overwrite, call);
}

Future<LoadWeightsResponse> TrainingClient::load_state(std::string path, bool with_optimizer,
                                                       const CallOptions& call) {
  return connection_->load_state(std::move(path), with_optimizer, call);
}

Future<SaveWeightsForSamplerResponse> TrainingClient::save_weights_for_sampler(
    std::string name, const CallOptions& call) {
  return connection_->save_weights_for_sampler(std::move(name), call);
}

Future<SamplingClient> TrainingClient::save_weights_and_get_sampling_client(
    const CallOptions& call) {
  return connection_->save_weights_and_get_sampling_client(call);
}

Future<Unit> TrainingClient::unload(const CallOptions& call) { return connection_->unload(call); }

}  // namespace tinkex
