#pragma once

// A remote model that is trained like a torch::nn::Module.
//
// ```
// tinkex::torch_ext::Connection connection = tinkex::torch_ext::connect().value();
// tinkex::torch_ext::RemoteModel model(connection, {.base_model = "tinkex/tiny", .rank = 8});
// tinkex::torch_ext::RemoteAdamW optimizer(model, torch::optim::AdamWOptions(1e-3));
// at::Tensor loss = -(model->forward(tokens, targets) * weights).sum();
// loss.backward();
// optimizer.step();
// ```
//
// What travels. forward() sends a forward pass and gives the log-probability of each target token,
// differentiable. backward() sends what the loss makes of them: one forward_backward per model,
// whatever number of forward() calls the loss was made of. step() sends one optim_step. So any loss
// costs a forward pass more than one that the server computes, which loss() is for.
//
// Gradients are summed on the server until step(), as they are in a parameter's gradient; step()
// then clears them, so that zero_grad() has nothing left to do. What the server cannot do is
// refused by the call that would need it: a second derivative, the gradient of a forward pass after
// a step, discarding or scaling a gradient. Nor can a gradient be read: the one parameter of the
// model is a placeholder of one element, and what is in its grad() is no gradient. The norm is in
// the metrics of the step.
//
// One model per client. A TrainingClient is one model on the server, with one gradient and one
// AdamW state, and a RemoteModel counts what it has sent to it. Of two made from one client each
// knows only half: a step() of one applies, and clears, what backward() of the other has left
// there, and the other's step() then sends a step for a gradient that is gone. Copies of a
// RemoteModel are one model, and may be used in several places; for a second one make a second
// client.
//
// Frozen. With requires_grad_(false) on its parameter, forward() and loss() are forward passes
// without a graph, as of a frozen module of LibTorch's: a reference model. step() and
// forward_backward(), which would train nothing or in spite of it, are refused.
//
// Errors. Everything here throws tinkex::Error; Error::not_accepted() says that the server did not
// take the call. A backward pass or step of which that is unknown makes backward() and step()
// refuse to go on until load_state() or accept_server_gradient().
//
// Threads. A model may be used on one thread at a time; backward() of different graphs may run on
// several, beside no other call of the model. Waiting releases nothing that the caller holds;
// torch.ops release Python's lock. On an executor thread (inside `then`) what waits throws
// kWouldDeadlock.

#include <ATen/core/ivalue.h>  // First: see torch_prelude.h.

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/future.h"
#include "tinkex/outputs.h"
#include "tinkex/params.h"
#include "tinkex/training_client.h"
#include "torch_ext/connect.h"
#include "torch_ext/datum_convert.h"
#include "torch_ext/explanation.h"
#include "torch_ext/torch_prelude.h"

namespace tinkex::torch_ext {

namespace remote {
class TrainingState;
struct Explained;
}  // namespace remote

struct RemoteModelOptions {
  /// One of ServiceClient::get_supported_models().
  std::string base_model;
  /// The rank of the adapters that are trained.
  std::int64_t rank = LoraConfig{}.rank;
  /// Of their initialisation. Absent: the server draws one.
  std::optional<std::int64_t> seed = std::nullopt;
  bool train_attn = true;     ///< q, k, v, o projections.
  bool train_mlp = true;      ///< gate, up, down projections.
  bool train_unembed = true;  ///< The output projection.
  /// backward() and step() return once their request is queued, and the next batch can be prepared
  /// while the server works. Nothing else changes, the results included; a failure is thrown by the
  /// next call that waits, or by synchronize(). Until that is told, a step that was refused does
  /// not show its gradient, so that a zero_grad() before it goes unnoticed.
  bool pipelined = false;
};

/// What a loss function of the API's own is computed of: loss_fn_inputs by name, one tensor per
/// sequence; see borrow_datums().
struct LossBatch {
  std::vector<at::Tensor> tokens;  ///< (N_i) integers.
  NamedTensorLists inputs;         ///< Such as target_tokens, weights, logprobs, advantages.
};

class RemoteModelImpl final : public torch::nn::Module {
 public:
  /// Creates a model on the connection's server; waits for it. Keeps the service open.
  RemoteModelImpl(const Connection& connection, RemoteModelOptions options);
  /// Goes on with a model that there is already. Its service must stay open. `pipelined` as above;
  /// `limits` are those of the service, for explain().
  explicit RemoteModelImpl(TrainingClient client, bool pipelined = false, ChunkLimits limits = {});
  ~RemoteModelImpl() override;

  /// The log-probability of each target, float32, of the shape of `targets` and on its device:
  /// (B, T) or, with K targets per position, (B, T, K). `tokens` (B, T) are what the model reads;
  /// targets[b, t] is a token that may follow tokens[b, 0..t]. Any integer dtype and strides.
  ///
  /// Rows are padded at the end: a target of -100 (torch's ignore_index) does not count; its result
  /// is 0 and has no gradient. What lies behind a row's last target that counts is not sent.
  at::Tensor forward(const at::Tensor& tokens, const at::Tensor& targets);

  /// The same for sequences of different lengths: `tokens[i]` (N_i), `targets[i]` (N_i) or
  /// (N_i, K). One tensor per sequence, all slices of one.
  std::vector<at::Tensor> forward_list(const std::vector<at::Tensor>& tokens,
                                       const std::vector<at::Tensor>& targets);

  /// A loss that the server computes, in one pass: the sum over all positions and sequences, a
  /// scalar. Its gradient is summed on the server right away; backward() notes that it is wanted,
  /// so it may be a part of a larger sum, but not be multiplied. Without gradients (NoGradGuard) it
  /// is a forward pass.
  ///
  /// While gradients are on: inputs that require one are refused, since none flows through them.
  /// What is under way, of forward_backward() and step_async(), too, is waited for before the loss
  /// is sent; a failure of it that nobody else hears of is thrown, and nothing is sent.
  at::Tensor loss(const std::string& loss_fn, const LossBatch& batch,
                  const LossConfig& config = {});

  /// The same without waiting and without a graph: the gradient counts for the next step.
  /// Refuses such inputs, too.
  Future<ForwardBackwardOutput> forward_backward(const std::string& loss_fn, const LossBatch& batch,
                                                 const LossConfig& config = {});

  /// How forward() of the same arguments and its backward() would travel. Sends nothing.
  Explanation explain(const at::Tensor& tokens, const at::Tensor& targets) const;
  Explanation explain_list(const std::vector<at::Tensor>& tokens,
                           const std::vector<at::Tensor>& targets) const;
  /// How loss() would travel. Refuses such inputs, too.
  Explanation explain_loss(const std::string& loss_fn, const LossBatch& batch) const;

  /// Loads a checkpoint of such a model and waits; the server then holds no gradient, and graphs of
  /// earlier forward passes are stale.
  void load_state(const std::string& path, bool with_optimizer = true);
  /// The client, for saving and sampling. What is trained, stepped or loaded through it is unknown
  /// here: a step() without other gradients sends nothing.
  TrainingClient& client();
  /// Metrics of the last backward pass, or loss(), that has finished.
  Metrics metrics() const;

  /// Waits for what is under way; throws its first failure. Of use if pipelined.
  void synchronize();
  /// What the server holds shall be applied by the next step() as it is; waits for what is under
  /// way. After an error, a loss() without backward(), a zero_grad() between backward() and step(),
  /// another optimizer's step.
  void accept_server_gradient();

  /// False: a module that has a remote one among its children is saved without it.
  bool is_serializable() const override { return false; }
  /// Refused: a remote model has no weights here. TrainingClient::save_state saves them.
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;
  /// Refused, also as a part of another module: a copy would be the same model on the server.
  std::shared_ptr<Module> clone(const Optional<torch::Device>& device = {}) const override;
  /// Without effect: the model lives on the server, and results follow their targets.
  void to(torch::Device device, torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Dtype dtype, bool non_blocking = false) override;
  void to(torch::Device device, bool non_blocking = false) override;

  /// For RemoteAdamW.
  const std::shared_ptr<remote::TrainingState>& state() const { return state_; }

 private:
  void clone_(Module& other, const Optional<torch::Device>& device) override;
  remote::Explained explained() const;

  RemoteModelImpl(TrainingClient client, bool pipelined, ChunkLimits limits,
                  std::shared_ptr<const void> lease);

  ChunkLimits limits_;
  std::shared_ptr<remote::TrainingState> state_;
};

/// A handle to a RemoteModelImpl, as torch::nn::Linear is one to a LinearImpl. Copies share it.
class RemoteModel : public torch::nn::ModuleHolder<RemoteModelImpl> {
 public:
  using torch::nn::ModuleHolder<RemoteModelImpl>::ModuleHolder;

  /// As RemoteModelImpl; so that the options may be written in braces.
  RemoteModel(const Connection& connection, RemoteModelOptions options)
      : ModuleHolder(std::make_shared<RemoteModelImpl>(connection, std::move(options))) {}
};

}  // namespace tinkex::torch_ext
