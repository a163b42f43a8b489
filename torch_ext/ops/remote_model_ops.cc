#include "torch_ext/ops/remote_model_ops.h"

#include <utility>

#include "torch_ext/error_bridge.h"
#include "torch_ext/ops/python_exit.h"
#include "torch_ext/ops/remote_op.h"
#include "torch_ext/remote/explain.h"
#include "torch_ext/remote/graph.h"
#include "torch_ext/remote/host_batch.h"
#include "torch_ext/remote/model_calls.h"

namespace tinkex::torch_ext {
namespace {

/// Calls `use` with the model's state; errors become what scripts and Python expect.
template <class Use>
auto with_state(const TrainingPtr& client, const at::Tensor& anchor, bool pipelined, Use use) {
  // borrow() alone tells fake tensors, which say that they are on the CPU.
  if (!anchor.defined() || anchor.scalar_type() != at::kDouble || anchor.numel() != 1 ||
      !anchor.device().is_cpu() || !borrow(anchor, "anchor")) {
    throw_error(invalid_argument(
        "anchor is not a float64 CPU tensor of one element; make it with "
        "torch.nn.Parameter(torch.zeros(1, dtype=torch.float64)) and keep it with the client"));
  }
  if (!anchor.is_leaf()) {
    throw_error(invalid_argument(
        "anchor was computed from other tensors, so that backward() leaves it no gradient; give "
        "the torch.nn.Parameter itself, which is kept with the client"));
  }
  const WaitPass pass;
  try {
    return use(std::make_shared<remote::TrainingState>(
        client->client(), anchor, pipelined,
        remote::ServiceLease{client->lease(), /*kept_by_calls=*/true}, client->ledger(),
        [] { return std::make_shared<WaitPass>(); }));
  } catch (const Error& error) {
    throw_error(error);
  }
}

/// The text of what `explain` makes of the model's settings.
template <class Explain>
std::string explained(const TrainingPtr& client, const at::Tensor& anchor, Explain explain) {
  return with_state(client, anchor, /*pipelined=*/false, [&](const remote::StatePtr& state) {
    return explain(remote::Explained{client->limits(), remote::wants_gradient(*state)}).text();
  });
}

}  // namespace

at::Tensor remote_logprobs(const TrainingPtr& client, const at::Tensor& anchor,
                           const at::Tensor& tokens, const at::Tensor& targets, bool pipelined) {
  return with_state(client, anchor, pipelined, [&](const remote::StatePtr& state) {
    return remote::padded_logprobs(state, tokens, targets);
  });
}

std::vector<at::Tensor> remote_logprobs_list(const TrainingPtr& client, const at::Tensor& anchor,
                                             const std::vector<at::Tensor>& tokens,
                                             const std::vector<at::Tensor>& targets,
                                             bool pipelined) {
  return with_state(client, anchor, pipelined, [&](const remote::StatePtr& state) {
    return remote::list_logprobs(state, tokens, targets);
  });
}

at::Tensor remote_loss(const TrainingPtr& client, const at::Tensor& anchor,
                       const std::vector<at::Tensor>& tokens, const TensorListDict& loss_fn_inputs,
                       const std::string& loss_fn, const Optional<LossConfigDict>& loss_fn_config) {
  const remote::HostBatch batch =
      value_or_throw(remote::HostBatch::of(tokens, to_named_lists(loss_fn_inputs)));
  return with_state(client, anchor, /*pipelined=*/false, [&](const remote::StatePtr& state) {
    return remote::loss_of(state, batch.datums(), loss_fn, to_loss_config(loss_fn_config));
  });
}

TensorDict remote_step(const TrainingPtr& client, const at::Tensor& anchor, double lr, double beta1,
                       double beta2, double eps, double weight_decay, double grad_clip_norm,
                       bool pipelined) {
  const AdamParams params{.learning_rate = lr,
                          .beta1 = beta1,
                          .beta2 = beta2,
                          .eps = eps,
                          .weight_decay = weight_decay,
                          .grad_clip_norm = grad_clip_norm};
  return with_state(client, anchor, pipelined, [&](const remote::StatePtr& state) {
    const std::optional<OptimStepResponse> response = state->step(params);
    return to_tensor_dict(response ? response->metrics : Metrics{});
  });
}

void remote_synchronize(const TrainingPtr& client, const at::Tensor& anchor) {
  with_state(client, anchor, true, [](const remote::StatePtr& state) { state->synchronize(); });
}

void remote_accept_server_gradient(const TrainingPtr& client, const at::Tensor& anchor) {
  with_state(client, anchor, true,
             [](const remote::StatePtr& state) { state->accept_server_gradient(); });
}

void tell_again(const TrainingPtr& client, const std::string& failure) {
  client->ledger()->tell_again(failure);
}

TensorDict remote_metrics(const TrainingPtr& client, const at::Tensor& anchor) {
  return with_state(client, anchor, /*pipelined=*/false, [](const remote::StatePtr& state) {
    return to_tensor_dict(state->ledger().backward_metrics());
  });
}

std::string explain_logprobs(const TrainingPtr& client, const at::Tensor& anchor,
                             const at::Tensor& tokens, const at::Tensor& targets) {
  return explained(client, anchor, [&](const remote::Explained& how) {
    return remote::explain_padded(how, tokens, targets);
  });
}

std::string explain_logprobs_list(const TrainingPtr& client, const at::Tensor& anchor,
                                  const std::vector<at::Tensor>& tokens,
                                  const std::vector<at::Tensor>& targets) {
  return explained(client, anchor, [&](const remote::Explained& how) {
    return remote::explain_lists(how, tokens, targets);
  });
}

std::string explain_remote_loss(const TrainingPtr& client, const at::Tensor& anchor,
                                const std::vector<at::Tensor>& tokens,
                                const TensorListDict& loss_fn_inputs, const std::string& loss_fn) {
  const remote::HostBatch batch =
      value_or_throw(remote::HostBatch::of(tokens, to_named_lists(loss_fn_inputs)));
  return explained(client, anchor, [&](const remote::Explained& how) {
    return remote::explain_loss(how, batch.datums(), loss_fn);
  });
}

void register_remote_model_kernels(torch::Library& library) {
  library.impl("logprobs", TORCH_FN(remote_logprobs));
  library.impl("logprobs_list", TORCH_FN(remote_logprobs_list));
  library.impl("loss", TORCH_FN(remote_loss));
  library.impl("step", TORCH_FN(remote_step));
  library.impl("synchronize", TORCH_FN(remote_synchronize));
  library.impl("accept_server_gradient", TORCH_FN(remote_accept_server_gradient));
  library.impl("metrics", TORCH_FN(remote_metrics));
  library.impl("tell_again", TORCH_FN(tell_again));
  library.impl("explain", TORCH_FN(explain_logprobs));
  library.impl("explain_list", TORCH_FN(explain_logprobs_list));
  library.impl("explain_loss", TORCH_FN(explain_remote_loss));
}

void register_remote_model_autograd_kernels(torch::Library& library) {
  library.impl("logprobs", TORCH_FN(remote_logprobs));
  library.impl("logprobs_list", TORCH_FN(remote_logprobs_list));
  library.impl("loss", TORCH_FN(remote_loss));
}

void register_remote_model_meta_kernels(torch::Library& library) {
  for (const char* op :
       {"logprobs", "logprobs_list", "loss", "step", "synchronize", "accept_server_gradient",
        "metrics", "explain", "explain_list", "explain_loss"}) {
    refuse_meta(library, op);
  }
}

}  // namespace tinkex::torch_ext
