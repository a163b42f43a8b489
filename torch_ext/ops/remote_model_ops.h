#pragma once

// A differentiable remote model for scripts and for Python. A module of theirs holds the training
// client and one parameter, the anchor: torch.zeros(1, dtype=torch.float64). remote_model.h says
// what travels and what is refused.

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ops/results.h"
#include "torch_ext/ops/training_ops.h"
#include "torch_ext/torch_prelude.h"

namespace tinkex::torch_ext {

/// RemoteModelImpl::forward of a padded batch; in the graph of `anchor` if gradients are on.
at::Tensor remote_logprobs(const TrainingPtr& client, const at::Tensor& anchor,
                           const at::Tensor& tokens, const at::Tensor& targets, bool pipelined);
/// The same of lists.
std::vector<at::Tensor> remote_logprobs_list(const TrainingPtr& client, const at::Tensor& anchor,
                                             const std::vector<at::Tensor>& tokens,
                                             const std::vector<at::Tensor>& targets,
                                             bool pipelined);
/// RemoteModelImpl::loss.
at::Tensor remote_loss(const TrainingPtr& client, const at::Tensor& anchor,
                       const std::vector<at::Tensor>& tokens, const TensorListDict& loss_fn_inputs,
                       const std::string& loss_fn, const Optional<LossConfigDict>& loss_fn_config);
/// RemoteAdamW::step; its metrics, none if there was no gradient, or if it is pipelined.
TensorDict remote_step(const TrainingPtr& client, const at::Tensor& anchor, double lr, double beta1,
                       double beta2, double eps, double weight_decay, double grad_clip_norm,
                       bool pipelined);
void remote_synchronize(const TrainingPtr& client, const at::Tensor& anchor);
void remote_accept_server_gradient(const TrainingPtr& client, const at::Tensor& anchor);
/// The next call throws `failure` again, if it is what an earlier call left and the last call
/// threw: for a call whose caller has left.
void tell_again(const TrainingPtr& client, const std::string& failure);
/// RemoteModelImpl::metrics.
TensorDict remote_metrics(const TrainingPtr& client, const at::Tensor& anchor);
/// The texts of RemoteModelImpl::explain, explain_list and explain_loss. Nothing is sent.
std::string explain_logprobs(const TrainingPtr& client, const at::Tensor& anchor,
                             const at::Tensor& tokens, const at::Tensor& targets);
std::string explain_logprobs_list(const TrainingPtr& client, const at::Tensor& anchor,
                                  const std::vector<at::Tensor>& tokens,
                                  const std::vector<at::Tensor>& targets);
std::string explain_remote_loss(const TrainingPtr& client, const at::Tensor& anchor,
                                const std::vector<at::Tensor>& tokens,
                                const TensorListDict& loss_fn_inputs, const std::string& loss_fn);

/// Called by library.cc: without autograd, with it, and those that refuse to trace.
void register_remote_model_kernels(torch::Library& library);
void register_remote_model_autograd_kernels(torch::Library& library);
void register_remote_model_meta_kernels(torch::Library& library);

}  // namespace tinkex::torch_ext
