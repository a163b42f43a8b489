#pragma once

// Calls on a training client, as scripts make them. Each checks and converts its arguments, sends,
// and returns without waiting for the network (training_client.h says when it waits at all). The
// tensors are encoded before it returns. Inputs that require a gradient are refused, unless
// gradients are switched off: none would flow through them.

#include <ATen/core/Dict.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tinkex/future.h"
#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ops/results.h"
#include "torch_ext/torch_prelude.h"

namespace tinkex::torch_ext {

using LossConfigDict = c10::Dict<std::string, double>;

/// The settings of a loss; none if there are none.
LossConfig to_loss_config(const Optional<LossConfigDict>& dict);

Future<ForwardBackwardOutput> start_forward(const TrainingPtr& client,
                                            const std::vector<at::Tensor>& tokens,
                                            const TensorListDict& loss_fn_inputs,
                                            const std::string& loss_fn,
                                            const Optional<LossConfigDict>& loss_fn_config);

Future<ForwardBackwardOutput> start_forward_backward(
    const TrainingPtr& client, const std::vector<at::Tensor>& tokens,
    const TensorListDict& loss_fn_inputs, const std::string& loss_fn,
    const Optional<LossConfigDict>& loss_fn_config);

/// The same with the sequences one after another: `tokens` is 1-D, sequence i is rows offsets[i] to
/// offsets[i + 1] of it and of every input.
Future<RaggedOutput> start_forward_ragged(const TrainingPtr& client, const at::Tensor& tokens,
                                          const at::Tensor& offsets,
                                          const TensorDict& loss_fn_inputs,
                                          const std::string& loss_fn,
                                          const Optional<LossConfigDict>& loss_fn_config);

Future<RaggedOutput> start_forward_backward_ragged(const TrainingPtr& client,
                                                   const at::Tensor& tokens,
                                                   const at::Tensor& offsets,
                                                   const TensorDict& loss_fn_inputs,
                                                   const std::string& loss_fn,
                                                   const Optional<LossConfigDict>& loss_fn_config);

Future<OptimStepResponse> start_optim_step(const TrainingPtr& client, double learning_rate,
                                           double beta1, double beta2, double eps,
                                           double weight_decay, double grad_clip_norm);

/// The saved path.
Future<std::string> start_save_state(const TrainingPtr& client, const std::string& name,
                                     bool overwrite);

/// The loaded path.
Future<std::string> start_load_state(const TrainingPtr& client, const std::string& path,
                                     bool with_optimizer);

/// The saved path.
Future<std::string> start_save_weights_for_sampler(const TrainingPtr& client,
                                                   const std::string& name);

Future<LeasedSampler> start_save_weights_and_get_sampling_client(const TrainingPtr& client);

/// Settled once the server has forgotten the model.
Future<Unit> start_unload(const TrainingPtr& client);

/// Called by library.cc: the kernels for every device, and those that refuse to trace.
void register_training_kernels(torch::Library& library);
void register_training_meta_kernels(torch::Library& library);

}  // namespace tinkex::torch_ext
