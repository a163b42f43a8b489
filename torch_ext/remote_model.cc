#include "torch_ext/remote_model.h"

#include <ATen/ops/zeros.h>

#include <sstream>
#include <utility>

#include "torch_ext/remote/graph.h"
#include "torch_ext/remote/model_calls.h"
#include "torch_ext/remote/sequences.h"
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

/// The batch as Datums that borrow its tensors.
std::vector<Datum> datums_of(const LossBatch& batch) {
  return borrow_datums(batch.tokens, batch.inputs).value();
}

}  // namespace

std::size_t Explanation::requests() const {
  std::size_t sum = 0;
  for (const ExplainedPass& pass : passes) sum += pass.plan.chunks.size();
  return sum;
}

std::size_t Explanation::bytes() const {
  std::size_t sum = 0;
  for (const ExplainedPass& pass : passes) sum += pass.plan.bytes();
  return sum;
}

std::string Explanation::text() const {
  std::ostringstream out;
  out << passes.size() << (passes.size() == 1 ? " pass, " : " passes, ") << requests()
      << (requests() == 1 ? " request, " : " requests, ") << "about " << bytes() << " bytes\n";
  for (const ExplainedPass& pass : passes) {
    out << pass.call << "\n";
    for (const BatchChunk& chunk : pass.plan.chunks) {
      out << "  sequences " << chunk.begin << " to " << chunk.end - 1 << ": " << chunk.numbers
          << " numbers, about " << chunk.bytes << " bytes\n";
    }
  }
  return out.str();
}

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
                                                     pipelined, std::move(lease))) {
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
  return remote::loss_of(state_, datums_of(batch), loss_fn, config);
}

Future<ForwardBackwardOutput> RemoteModelImpl::forward_backward(const std::string& loss_fn,
                                                                const LossBatch& batch,
                                                                const LossConfig& config) {
  return state_->forward_backward(datums_of(batch), loss_fn, config);
}

Explanation RemoteModelImpl::explain_sequences(const remote::Sequences& sequences) const {
  Explanation explanation;
  explanation.passes.push_back({"forward, by forward()", plan_batch(sequences.data(), limits_)});
  if (!remote::wants_gradient(*state_)) return explanation;
  std::vector<Datum> weighted;
  std::vector<at::Tensor> keep;
  sequences.append_weighted(at::zeros(sequences.result_shape(), at::kFloat), weighted, keep)
      .value();
  explanation.passes.push_back({"forward_backward, by backward()", plan_batch(weighted, limits_)});
  return explanation;
}

Explanation RemoteModelImpl::explain(const at::Tensor& tokens, const at::Tensor& targets) const {
  const auto sequences = remote::Sequences::from_padded(tokens, targets).value();
  return explain_sequences(sequences);
}

Explanation RemoteModelImpl::explain_list(const std::vector<at::Tensor>& tokens,
                                          const std::vector<at::Tensor>& targets) const {
  const auto sequences = remote::Sequences::from_lists(tokens, targets).value();
  return explain_sequences(sequences);
}

Explanation RemoteModelImpl::explain_loss(const std::string& loss_fn,
                                          const LossBatch& batch) const {
  const bool train = remote::wants_gradient(*state_);
  return {
      {{std::string(train ? "forward_backward" : "forward") + " with " + loss_fn + ", by loss()",
        plan_batch(datums_of(batch), limits_)}}};
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

void RemoteModelImpl::to(torch::Device /*device*/, torch::Dtype /*dtype*/, bool /*non_blocking*/) {}
void RemoteModelImpl::to(torch::Dtype /*dtype*/, bool /*non_blocking*/) {}
void RemoteModelImpl::to(torch::Device /*device*/, bool /*non_blocking*/) {}

}  // namespace tinkex::torch_ext
