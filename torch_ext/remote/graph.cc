#include "torch_ext/remote/graph.h"

#include <ATen/ops/full.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/base/mutex.h"
#include "tinkex/base/thread_annotations.h"
#include "tinkex/error.h"

namespace tinkex::torch_ext::remote {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What a node of the graph keeps.
struct Kept final : torch::CustomClassHolder {
  std::shared_ptr<TrainingState> state;
  std::shared_ptr<const Sequences> sequences;    ///< Null for a loss of the server's.
  std::int64_t steps = 0;                        ///< That were sent before its forward pass.
  std::optional<GradientLedger::Ticket> ticket;  ///< Of such a loss, until backward() of it.
};

Error called_twice() {
  return invalid_argument(
      "backward() was called twice on a loss that the server computed: its gradient was summed "
      "when it was computed, once. Compute it again");
}

/// What the nodes of one model have collected in one backward pass. Nodes on several devices are
/// reached on several threads; the anchor is shown them after all of them, before the pass ends.
class Batch {
 public:
  explicit Batch(std::shared_ptr<TrainingState> state) : state_(std::move(state)) {}

  void add(const Sequences& sequences, const at::Tensor& gradient, std::int64_t steps) {
    const internal::MutexLock lock(mutex_);
    const Status added = sequences.append_weighted(gradient, data_, weights_);
    if (!added) throw added.error();
    graphs_.steps = graphs_.count == 0 ? steps : std::min(graphs_.steps, steps);
    ++graphs_.count;
  }

  void add_loss(c10::intrusive_ptr<Kept> loss) {
    const internal::MutexLock lock(mutex_);
    losses_.push_back(std::move(loss));
  }

  /// They are being added to the anchor's gradient.
  void arrive() {
    const internal::MutexLock lock(mutex_);
    graphs_.before =
        state_->ledger().arrive(graphs_.count + static_cast<std::int64_t>(losses_.size()));
  }

  /// A loss of the server's counts once nothing of the pass can fail any more: until then the same
  /// graph, if it was retained, may be tried again.
  void send() {
    GradientLedger& ledger = state_->ledger();
    for (const auto& loss : losses_) {
      if (!loss->ticket) throw called_twice();
      ledger.check_open(*loss->ticket).value();
    }
    if (graphs_.count > 0) state_->backward(data_, graphs_);
    for (const auto& loss : losses_) {
      if (!loss->ticket) throw called_twice();  // meanwhile, by a hook or on another thread
      const GradientLedger::Ticket ticket = *std::exchange(loss->ticket, std::nullopt);
      ledger.settle_loss(ticket, graphs_.before).value();
    }
  }

 private:
  const std::shared_ptr<TrainingState> state_;
  internal::Mutex mutex_;  ///< Until the pass ends: then one thread alone has what is below.
  std::vector<Datum> data_;
  std::vector<at::Tensor> weights_;
  std::vector<c10::intrusive_ptr<Kept>> losses_;
  Graphs graphs_;
};

/// The batches of the backward passes that run in this process, by pass and model. A batch ends
/// with its pass, also with one that fails: only the engine's callback owns it.
class Batches {
 public:
  /// Never destroyed: a thread may be in backward() when the process exits.
  static Batches& of_process() {
    static Batches& batches = *new Batches;
    return batches;
  }

  /// That of the pass on whose thread this is called; null if it has reached no node of the model.
  std::shared_ptr<Batch> find(const GradientLedger& ledger) {
    const internal::MutexLock lock(mutex_);
    const auto entry = batches_.find({current_pass(), &ledger});
    return entry == batches_.end() ? nullptr : entry->second.lock();
  }

  std::shared_ptr<Batch> find_or_begin(const std::shared_ptr<TrainingState>& state) {
    const internal::MutexLock lock(mutex_);
    std::weak_ptr<Batch>& current = batches_[{current_pass(), &state->ledger()}];
    std::shared_ptr<Batch> batch = current.lock();
    if (batch != nullptr) return batch;
    batch = std::make_shared<Batch>(state);
    torch::autograd::Engine::get_default_engine().queue_callback([batch] { batch->send(); });
    current = batch;
    std::erase_if(batches_, [](const auto& entry) { return entry.second.expired(); });
    return batch;
  }

 private:
  using Key = std::pair<const void*, const GradientLedger*>;

  /// Lives as long as the pass. The pass has a number as well, but before LibTorch 2.1 none can
  /// ask.
  static const void* current_pass() {
    return torch::autograd::get_current_graph_task_nodes_in_graph();
  }

  internal::Mutex mutex_;
  std::map<Key, std::weak_ptr<Batch>> batches_ TINKEX_GUARDED_BY(mutex_);
};

/// Tells the batch of a pass when the pass adds its graphs to the anchor's gradient. A hook of the
/// node that adds them, which owns the anchor, too; before it, so that no hook of others comes in
/// between: who fails there may leave the ledger with too many graphs, never with too few.
class AnchorWatch final : public torch::autograd::FunctionPreHook {
 public:
  AnchorWatch(at::Tensor anchor, std::weak_ptr<const GradientLedger> ledger)
      : anchor_(std::move(anchor)), ledger_(std::move(ledger)) {}

  /// Lets the anchor of `state` be watched as long as the result, or a graph that leads to it, is
  /// there. Null: the anchor is frozen.
  static auto on(const TrainingState& state) {
    const std::shared_ptr<const GradientLedger> ledger = state.ledger().shared_from_this();
    auto accumulator = torch::autograd::impl::grad_accumulator(state.anchor());
    if (!accumulator) return accumulator;
    const auto watches = [&](const auto& hook) {
      const auto* watch = dynamic_cast<const AnchorWatch*>(hook.get());
      return watch != nullptr && watch->ledger_.lock() == ledger;
    };
    static internal::Mutex& one_at_a_time = *new internal::Mutex;
    const internal::MutexLock lock(one_at_a_time);
    const auto& hooks = accumulator->pre_hooks();
    if (std::none_of(hooks.begin(), hooks.end(), watches))
      accumulator->add_pre_hook(std::make_unique<AnchorWatch>(state.anchor(), ledger));
    return accumulator;
  }

  variable_list operator()(const variable_list& gradients) override {
    const auto ledger = ledger_.lock();
    if (ledger == nullptr || !anchor_.requires_grad()) return gradients;  // frozen: none is added
    if (const auto batch = Batches::of_process().find(*ledger)) batch->arrive();
    return gradients;
  }

 private:
  const at::Tensor anchor_;
  const std::weak_ptr<const GradientLedger> ledger_;
};

Kept& keep(AutogradContext* ctx, const at::Tensor& anchor, std::shared_ptr<TrainingState> state) {
  auto kept = c10::make_intrusive<Kept>();
  kept->state = std::move(state);
  // Saved variables alone let LibTorch notice a second backward() through the same graph.
  ctx->save_for_backward({anchor});
  Kept& result = *kept;
  ctx->saved_data["kept"] =
      c10::IValue::make_capsule(c10::intrusive_ptr<torch::CustomClassHolder>(std::move(kept)));
  return result;
}

/// Throws LibTorch's own error if this is the second backward() through a graph that was freed.
void check_not_freed(AutogradContext* ctx) { (void)ctx->get_saved_variables(); }

c10::intrusive_ptr<Kept> kept_by(AutogradContext* ctx) {
  if (at::GradMode::is_enabled()) {
    throw invalid_argument(
        "a remote model has no second derivative: call backward() or autograd::grad() without "
        "create_graph");
  }
  const auto kept = ctx->saved_data.find("kept");
  if (kept == ctx->saved_data.end()) {
    check_not_freed(ctx);
    // LibTorch frees its part after the hooks on the node, which it does not if one of them throws.
    throw invalid_argument(
        "backward() through a graph of a remote model whose backward() has failed in a hook. "
        "Compute it again, or call backward() with retain_graph");
  }
  return c10::static_intrusive_pointer_cast<Kept>(kept->second.toCapsule());
}

/// LibTorch frees the saved variables of a graph that is not retained, but not its saved data: a
/// loss that somebody keeps would keep its batch, and the service.
void free_unless_retained(AutogradContext* ctx) {
  if (!torch::autograd::get_current_graph_task_keep_graph()) ctx->saved_data.clear();
}

at::Tensor anchor_gradient() { return at::full({1}, kStandIn, at::kDouble); }

struct RemoteLogprobs : torch::autograd::Function<RemoteLogprobs> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& anchor,
                            const at::Tensor& logprobs, std::shared_ptr<TrainingState> state,
                            std::shared_ptr<const Sequences> sequences, std::int64_t steps) {
    Kept& kept = keep(ctx, anchor, std::move(state));
    kept.sequences = std::move(sequences);
    kept.steps = steps;
    return logprobs.detach();
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    const c10::intrusive_ptr<Kept> kept = kept_by(ctx);
    kept->state->ledger().check_current(kept->steps).value();
    check_not_freed(ctx);
    Batches::of_process()
        .find_or_begin(kept->state)
        ->add(*kept->sequences, gradients[0], kept->steps);
    free_unless_retained(ctx);
    return {anchor_gradient(), {}, {}, {}, {}};
  }
};

struct RemoteLoss : torch::autograd::Function<RemoteLoss> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& anchor, const at::Tensor& loss,
                            std::shared_ptr<TrainingState> state,
                            const GradientLedger::Ticket& ticket) {
    keep(ctx, anchor, std::move(state)).ticket = ticket;
    return loss.detach();
  }

  static variable_list backward(AutogradContext* ctx, variable_list gradients) {
    c10::intrusive_ptr<Kept> kept = kept_by(ctx);
    check_not_freed(ctx);
    if (!kept->ticket) throw called_twice();
    const double factor = gradients[0].item<double>();
    if (factor != 1) {
      throw invalid_argument(
          "the gradient of this loss was multiplied by " + std::to_string(factor) +
          ", but the server has summed it already, with 1. Scale the weights or advantages that "
          "loss() is given, or compute the loss from forward()");
    }
    const std::shared_ptr<Batch> batch = Batches::of_process().find_or_begin(kept->state);
    batch->add_loss(std::move(kept));
    free_unless_retained(ctx);
    return {anchor_gradient(), {}, {}, {}};
  }
};

}  // namespace

at::Tensor with_remote_gradient(const at::Tensor& logprobs,
                                std::shared_ptr<const Sequences> sequences,
                                std::shared_ptr<TrainingState> state, std::int64_t steps) {
  const at::Tensor anchor = state->anchor();
  const auto watched = AnchorWatch::on(*state);
  if (!watched) return logprobs;
  return RemoteLogprobs::apply(anchor, logprobs, std::move(state), std::move(sequences), steps);
}

at::Tensor with_summed_gradient(const at::Tensor& loss, std::shared_ptr<TrainingState> state,
                                const GradientLedger::Ticket& ticket) {
  const at::Tensor anchor = state->anchor();
  const auto watched = AnchorWatch::on(*state);
  if (!watched) return loss;
  return RemoteLoss::apply(anchor, loss, std::move(state), ticket);
}

bool wants_gradient(const TrainingState& state) {
  return at::GradMode::is_enabled() && state.anchor().requires_grad();
}

}  // namespace tinkex::torch_ext::remote
