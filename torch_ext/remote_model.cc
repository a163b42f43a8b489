#include "torch_ext/remote_model.h"

#include <utility>

#include "torch_ext/remote/explain.h"
#include "torch_ext/remote/graph.h"
#include "torch_ext/remote/host_batch.h"
#include "torch_ext/remote/model_calls.h"
#include "torch_ext/remote/training_state.h"

namespace tinkex::torch_ext {
namespace {

TrainingClient create(ServiceClient service, const RemoteModelOptions& options) {
  const LoraConfig lora{.rank = options.rank,
                        .seed = options.seed,
                        .train_attn = options.train_attn,
                        .train_mlp = options.train_mlp,
                        .train_unembed = options.train_unembed};
  return service.create_lora_training_client(options.base_model, lora).get().value();
}

Error cannot_be_saved(const char* what) {
  return invalid_argument(
      std::string(what) +
      ": the weights of a remote model are on its server. model->client().save_state(name) saves "
      "them there, with the optimizer's state, and "
      "ServiceClient::create_training_client_from_state(path) makes a client to give to "
      "RemoteModel");
}

Error cannot_be_cloned() {
  return invalid_argument(
      "clone() of a RemoteModel: its weights are on its server. A copy of the handle is the same "
      "model. For another that begins where this one is, save it by "
      "model->client().save_state(name), and give RemoteModel the client that "
      "ServiceClient::create_training_client_from_state(path) makes");
}

remote::HostBatch on_host(const LossBatch& batch) {
  return remote::HostBatch::of(batch.tokens, batch.inputs).value();
}

}  // namespace

RemoteModelImpl::RemoteModelImpl(const Connection& connection, RemoteModelOptions options)
    : RemoteModelImpl(create(connection.service, options), options.pipelined,
                      connection.service.options().chunk_limits,
                      std::make_shared<ServiceClient>(connection.service)) {}

RemoteModelImpl::RemoteModelImpl(TrainingClient client, bool pipelined, ChunkLimits limits)
    : RemoteModelImpl(std::move(client), pipelined, limits, nullptr) {}

RemoteModelImpl::RemoteModelImpl(TrainingClient client, bool pipelined, ChunkLimits limits,
                                 std::shared_ptr<const void> lease)
    : Module("RemoteModel"),
      limits_(limits),
      state_(std::make_shared<remote::TrainingState>(std::move(client), remote::new_anchor(),
                                                     pipelined,
                                                     remote::ServiceLease{std::move(lease)})) {
  register_parameter("anchor", state_->anchor());
}

RemoteModelImpl::~RemoteModelImpl() = default;

at::Tensor RemoteModelImpl::forward(const at::Tensor& tokens, const at::Tensor& targets) {
  return remote::padded_logprobs(state_, tokens, targets);
}

std::vector<at::Tensor> RemoteModelImpl::forward_list(const std::vector<at::Tensor>& tokens,
                                                      const std::vector<at::Tensor>& targets) {
  return remote::list_logprobs(state_, tokens, targets);
}

at::Tensor RemoteModelImpl::loss(const std::string& loss_fn, const LossBatch& batch,
                                 const LossConfig& config) {
  return remote::loss_of(state_, on_host(batch).datums(), loss_fn, config);
}

Future<ForwardBackwardOutput> RemoteModelImpl::forward_backward(const std::string& loss_fn,
                                                                const LossBatch& batch,
                                                                const LossConfig& config) {
  return state_->forward_backward(on_host(batch).datums(), loss_fn, config);
}

remote::Explained RemoteModelImpl::explained() const {
  return {limits_, remote::wants_gradient(*state_)};
}

Explanation RemoteModelImpl::explain(const at::Tensor& tokens, const at::Tensor& targets) const {
  return remote::explain_padded(explained(), tokens, targets);
}

Explanation RemoteModelImpl::explain_list(const std::vector<at::Tensor>& tokens,
                                          const std::vector<at::Tensor>& targets) const {
  return remote::explain_lists(explained(), tokens, targets);
}

Explanation RemoteModelImpl::explain_loss(const std::string& loss_fn,
                                          const LossBatch& batch) const {
  return remote::explain_loss(explained(), on_host(batch).datums(), loss_fn);
}

void RemoteModelImpl::load_state(const std::string& path, bool with_optimizer) {
  state_->load_state(path, with_optimizer);
}
TrainingClient& RemoteModelImpl::client() { return state_->client(); }
Metrics RemoteModelImpl::metrics() const { return state_->ledger().backward_metrics(); }
void RemoteModelImpl::synchronize() { state_->synchronize(); }
void RemoteModelImpl::accept_server_gradient() { state_->accept_server_gradient(); }

void RemoteModelImpl::save(torch::serialize::OutputArchive& /*archive*/) const {
  throw cannot_be_saved("torch::save of a RemoteModel");
}
void RemoteModelImpl::load(torch::serialize::InputArchive& /*archive*/) {
  throw cannot_be_saved("torch::load of a RemoteModel");
}

std::shared_ptr<torch::nn::Module> RemoteModelImpl::clone(
    const Optional<torch::Device>& /*device*/) const {
  throw cannot_be_cloned();
}
void RemoteModelImpl::clone_(Module& /*other*/, const Optional<torch::Device>& /*device*/) {
  throw cannot_be_cloned();
}

void RemoteModelImpl::to(torch::Device /*device*/, torch::Dtype /*dtype*/, bool /*non_blocking*/) {}
void RemoteModelImpl::to(torch::Dtype /*dtype*/, bool /*non_blocking*/) {}
void RemoteModelImpl::to(torch::Device /*device*/, bool /*non_blocking*/) {}

}  // namespace tinkex::torch_ext
