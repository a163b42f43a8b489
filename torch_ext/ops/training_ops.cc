#include "torch_ext/ops/training_ops.h"

#include <span>
#include <string>
#include <utility>

#include "tinkex/validate.h"
#include "torch_ext/datum_convert.h"
#include "torch_ext/error_bridge.h"
#include "torch_ext/host_copies.h"
#include "torch_ext/ops/python_exit.h"
#include "torch_ext/ops/remote_op.h"
#include "torch_ext/ops/reply_checks.h"
#include "torch_ext/ragged.h"
#include "torch_ext/remote/host_batch.h"

namespace tinkex::torch_ext {
namespace {

/// Calls `send(datums)`, and checks what comes back.
template <class Send>
Future<ForwardBackwardOutput> sent_and_checked(std::span<const Datum> datums, Send& send) {
  return unless_refused(send(datums))
      .then([expected = expected_logprobs(datums)](Result<ForwardBackwardOutput> output) {
        return checked_outputs(std::move(output), expected);
      });
}

/// Calls `send(datums)` of sequences that lie one after another.
template <class Send>
Future<RaggedOutput> with_ragged(const at::Tensor& tokens, const at::Tensor& offsets,
                                 const TensorDict& loss_fn_inputs, Send send) {
  NamedTensorList inputs = to_named_list(loss_fn_inputs);
  for (const auto& [name, tensor] : inputs) {
    const std::string label = loss_input(name);
    value_or_throw(check_no_gradient(tensor, TensorName(std::string_view(label))));
  }
  HostCopies copies;
  const at::Tensor tokens_on_host = copies.start(tokens);
  for (auto& input : inputs) input.second = copies.start(input.second);
  copies.finish();
  const RaggedBatch batch = value_or_throw(borrow_ragged_datums(tokens_on_host, offsets, inputs));
  return sent_and_checked(batch.datums, send)
      .then([](Result<ForwardBackwardOutput> output) -> Result<RaggedOutput> {
        if (!output) return std::move(output).error();
        return RaggedOutput{*std::move(output)};
      });
}

/// Calls `send(datums)` of a batch of lists.
template <class Send>
Future<ForwardBackwardOutput> with_datums(const std::vector<at::Tensor>& tokens,
                                          const TensorListDict& loss_fn_inputs, Send send) {
  const remote::HostBatch batch =
      value_or_throw(remote::HostBatch::of(tokens, to_named_lists(loss_fn_inputs)));
  return sent_and_checked(batch.datums(), send);
}

}  // namespace

LossConfig to_loss_config(const Optional<LossConfigDict>& dict) {
  LossConfig config;
  if (!dict) return config;
  for (const auto& entry : *dict) config.emplace(entry.key(), entry.value());
  return config;
}

Future<ForwardBackwardOutput> start_forward(const TrainingPtr& client,
                                            const std::vector<at::Tensor>& tokens,
                                            const TensorListDict& loss_fn_inputs,
                                            const std::string& loss_fn,
                                            const Optional<LossConfigDict>& loss_fn_config) {
  return with_datums(tokens, loss_fn_inputs, [&](std::span<const Datum> datums) {
    return client->client().forward(datums, loss_fn, to_loss_config(loss_fn_config));
  });
}

Future<ForwardBackwardOutput> start_forward_backward(
    const TrainingPtr& client, const std::vector<at::Tensor>& tokens,
    const TensorListDict& loss_fn_inputs, const std::string& loss_fn,
    const Optional<LossConfigDict>& loss_fn_config) {
  return with_datums(tokens, loss_fn_inputs, [&](std::span<const Datum> datums) {
    return client->client().forward_backward(datums, loss_fn, to_loss_config(loss_fn_config));
  });
}

Future<RaggedOutput> start_forward_ragged(const TrainingPtr& client, const at::Tensor& tokens,
                                          const at::Tensor& offsets,
                                          const TensorDict& loss_fn_inputs,
                                          const std::string& loss_fn,
                                          const Optional<LossConfigDict>& loss_fn_config) {
  return with_ragged(tokens, offsets, loss_fn_inputs, [&](std::span<const Datum> datums) {
    return client->client().forward(datums, loss_fn, to_loss_config(loss_fn_config));
  });
}

Future<RaggedOutput> start_forward_backward_ragged(const TrainingPtr& client,
                                                   const at::Tensor& tokens,
                                                   const at::Tensor& offsets,
                                                   const TensorDict& loss_fn_inputs,
                                                   const std::string& loss_fn,
                                                   const Optional<LossConfigDict>& loss_fn_config) {
  return with_ragged(tokens, offsets, loss_fn_inputs, [&](std::span<const Datum> datums) {
    return client->client().forward_backward(datums, loss_fn, to_loss_config(loss_fn_config));
  });
}

Future<OptimStepResponse> start_optim_step(const TrainingPtr& client, double learning_rate,
                                           double beta1, double beta2, double eps,
                                           double weight_decay, double grad_clip_norm) {
  const AdamParams params{.learning_rate = learning_rate,
                          .beta1 = beta1,
                          .beta2 = beta2,
                          .eps = eps,
                          .weight_decay = weight_decay,
                          .grad_clip_norm = grad_clip_norm};
  value_or_throw(validate(params));
  // Noted as start_load_state does: the weights will be others than those of a RemoteModel's
  // graphs.
  remote::GradientLedger& ledger = *client->ledger();
  const auto ticket = ledger.begin_change();
  const auto end = remote::end_of<&remote::GradientLedger::end_other_step>(ticket);
  auto sent = ledger.send_change(
      ticket, [&] { return client->client().optim_step(params); }, end);
  return ledger.watch(std::move(sent), end, remote::Report::kCaller);
}

Future<std::string> start_save_state(const TrainingPtr& client, const std::string& name,
                                     bool overwrite) {
  return unless_refused(client->client().save_state(name, overwrite))
      .then([](Result<SaveWeightsResponse> saved) -> Result<std::string> {
        if (!saved) return saved.error();
        return saved->path;
      });
}

Future<std::string> start_load_state(const TrainingPtr& client, const std::string& path,
                                     bool with_optimizer) {
  value_or_throw(validate_checkpoint_path(path, CheckpointKind::kTraining));
  // Noted when it is sent: the caller may never ask for the result, or give it up.
  remote::GradientLedger& ledger = *client->ledger();
  const auto ticket = ledger.begin_change();
  const auto end = remote::end_of<&remote::GradientLedger::end_load>(ticket);
  auto sent = ledger.send_change(
      ticket, [&] { return client->client().load_state(path, with_optimizer); }, end);
  return ledger.watch(std::move(sent), end, remote::Report::kCaller)
      .then([](Result<LoadWeightsResponse> loaded) -> Result<std::string> {
        if (!loaded) return loaded.error();
        return loaded->path;
      });
}

Future<std::string> start_save_weights_for_sampler(const TrainingPtr& client,
                                                   const std::string& name) {
  return unless_refused(client->client().save_weights_for_sampler(name))
      .then([name](Result<SaveWeightsForSamplerResponse> saved) -> Result<std::string> {
        if (!saved) return saved.error();
        if (saved->path) return *saved->path;
        return Error(ErrorCode::kDecode, "the server saved the weights for sampling under '" +
                                             name + "' but gave no path for them");
      });
}

Future<LeasedSampler> start_save_weights_and_get_sampling_client(const TrainingPtr& client) {
  return client->client().save_weights_and_get_sampling_client().then(
      [lease = client->lease()](Result<SamplingClient> sampler) -> Result<LeasedSampler> {
        if (!sampler) return sampler.error();
        return LeasedSampler{*sampler, lease};
      });
}

Future<Unit> start_unload(const TrainingPtr& client) { return client->client().unload(); }

void register_training_kernels(torch::Library& library) {
  register_forms<&start_unload>(library, "unload");
  register_forms<&start_forward>(library, "forward");
  register_forms<&start_forward_backward>(library, "forward_backward");
  register_forms<&start_forward_ragged>(library, "forward_ragged");
  register_forms<&start_forward_backward_ragged>(library, "forward_backward_ragged");
  register_forms<&start_optim_step>(library, "optim_step");
  register_forms<&start_save_state>(library, "save_state");
  register_forms<&start_load_state>(library, "load_state");
  register_forms<&start_save_weights_for_sampler>(library, "save_weights_for_sampler");
  register_forms<&start_save_weights_and_get_sampling_client>(
      library, "save_weights_and_get_sampling_client");
}

void register_training_meta_kernels(torch::Library& library) {
  refuse_meta_forms(library, "forward");
  refuse_meta_forms(library, "forward_backward");
  refuse_meta_forms(library, "forward_ragged");
  refuse_meta_forms(library, "forward_backward_ragged");
}

}  // namespace tinkex::torch_ext
