#include "torch_ext/remote/training_state.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

namespace tinkex::torch_ext::remote {
namespace {

using Ticket = GradientLedger::Ticket;

double number(const at::Tensor& scalar) { return *scalar.const_data_ptr<double>(); }

/// How many graphs a gradient of the anchor shows.
double shown_by(const at::Tensor& gradient) {
  return gradient.defined() ? number(gradient) / kStandIn : 0;
}

/// Waits for `sent`, tells `end` and gives the value. On an executor thread, where nobody can wait,
/// the call goes on and is watched.
template <class T, class End>
T wait_for(GradientLedger& ledger, Future<T> sent, const End& end) {
  const Result<T>& result = sent.get();
  if (!result && result.error().code() == ErrorCode::kWouldDeadlock) {
    Error error = result.error();
    (void)ledger.watch(std::move(sent), end);
    throw std::move(error).with_context("the call was sent, but cannot be waited for here");
  }
  end(ledger, result);
  return std::move(sent).get().value();
}

Error frozen(const char* what) {
  return invalid_argument(
      std::string(what) +
      " of a model whose parameter is frozen (requires_grad is false): no backward() reaches it, "
      "so it would not be trained. requires_grad_(true) on its parameter makes it trainable again; "
      "of a model that shall stay as it is, call forward() and loss() alone");
}

/// Tells the ledger of the end of a backward pass.
auto end_of_backward(const Ticket& ticket, Report report) {
  return [ticket, report](GradientLedger& ledger, const Result<ForwardBackwardOutput>& result) {
    ledger.end_backward(ticket, result, report);
  };
}

}  // namespace

at::Tensor new_anchor() {
  const c10::InferenceMode off(false);  // a tensor that is made within it never has a gradient
  return at::zeros({1}, at::kDouble).requires_grad_(true);
}

void TrainingState::check_before() const {
  if (const std::optional<Error> failure = ledger_->take_failure()) throw *failure;
  if (number(anchor_) == 0) return;
  throw invalid_argument(
      "the parameter of a remote model was changed here, which trains nothing: an optimizer of "
      "LibTorch's, or an in-place operation, was given it. Give the model to RemoteAdamW, and only "
      "the parameters of local modules to other optimizers; then call accept_server_gradient() to "
      "go on");
}

void TrainingState::restore_anchor() {
  const std::int64_t anchored = ledger_->anchored();
  at::Tensor& gradient = anchor_.mutable_grad();
  if (anchored == 0) return gradient.reset();
  gradient = at::full({1}, kStandIn * static_cast<double>(anchored), at::kDouble);
}

ForwardBackwardOutput TrainingState::forward(std::span<const Datum> data,
                                             const std::string& loss_fn, const LossConfig& config) {
  check_before();
  ForwardBackwardOutput output = client_.forward(data, loss_fn, config).get().value();
  // What was sent before has been computed before, if it did not fail: then these are the
  // log-probabilities of other weights than the caller thinks.
  if (pipelined_) synchronize();
  return output;
}

void TrainingState::backward(std::span<const Datum> data, std::int64_t graphs) {
  if (const std::optional<Error> failure = ledger_->take_failure()) throw *failure;
  const Ticket ticket = ledger_->begin_backward(graphs).value();
  Future<ForwardBackwardOutput> sent = client_.forward_backward(data, loss::kCrossEntropy);
  // What is refused at once is told at once.
  if (pipelined_ && !sent.ready()) {
    (void)ledger_->watch(std::move(sent), end_of_backward(ticket, Report::kNextCall));
    return;
  }
  wait_for(*ledger_, std::move(sent), end_of_backward(ticket, Report::kCaller));
}

std::pair<ForwardBackwardOutput, Ticket> TrainingState::loss(std::span<const Datum> data,
                                                             const std::string& loss_fn,
                                                             const LossConfig& config) {
  check_before();
  const Ticket ticket = ledger_->begin_loss().value();
  const auto end = [ticket](GradientLedger& ledger, const Result<ForwardBackwardOutput>& result) {
    ledger.end_loss(ticket, result);
  };
  return {wait_for(*ledger_, client_.forward_backward(data, loss_fn, config), end), ticket};
}

Future<ForwardBackwardOutput> TrainingState::forward_backward(std::span<const Datum> data,
                                                              const std::string& loss_fn,
                                                              const LossConfig& config) {
  check_before();
  if (!anchor_.requires_grad()) throw frozen("forward_backward()");
  const Ticket ticket = ledger_->begin_backward(0).value();
  return ledger_->watch(client_.forward_backward(data, loss_fn, config),
                        end_of_backward(ticket, Report::kCaller));
}

std::optional<Ticket> TrainingState::begin_step() const {
  check_before();
  std::optional<Ticket> ticket = ledger_->begin_step(shown_by(anchor_.grad())).value();
  if (!ticket && !anchor_.requires_grad()) throw frozen("step()");
  anchor_.mutable_grad().reset();
  return ticket;
}

Future<OptimStepResponse> TrainingState::send_step(const AdamParams& params, const Ticket& ticket,
                                                   Report report) {
  return ledger_->watch(
      client_.optim_step(params),
      [ticket, report](GradientLedger& ledger, const Result<OptimStepResponse>& result) {
        ledger.end_step(ticket, result, report);
      });
}

std::optional<OptimStepResponse> TrainingState::step(const AdamParams& params) {
  const std::optional<Ticket> ticket = begin_step();
  if (!ticket) return std::nullopt;
  if (pipelined_) {
    (void)send_step(params, *ticket, Report::kNextCall);
    return std::nullopt;
  }
  Result<OptimStepResponse> result = send_step(params, *ticket, Report::kCaller).get();
  if (!result) restore_anchor();  // a step that was not taken leaves its gradient
  return std::move(result).value();
}

Future<OptimStepResponse> TrainingState::step_async(const AdamParams& params) {
  const std::optional<Ticket> ticket = begin_step();
  if (!ticket) return Future<OptimStepResponse>::ready_with(OptimStepResponse{});
  return send_step(params, *ticket, Report::kCaller);
}

void TrainingState::load_state(const std::string& path, bool with_optimizer) {
  const auto end = [load = ledger_->begin_load()](GradientLedger& ledger,
                                                  const Result<LoadWeightsResponse>& result) {
    ledger.end_load(load, result);
  };
  wait_for(*ledger_, client_.load_state(path, with_optimizer), end);
  accept_server_gradient();
}

void TrainingState::accept_server_gradient() {
  if (const Status waited = ledger_->wait(); !waited) throw waited.error();
  ledger_->accept();
  if (number(anchor_) != 0) {
    const at::AutoGradMode no_grad(false);
    anchor_.zero_();
  }
  anchor_.mutable_grad().reset();
}

void TrainingState::synchronize() {
  if (const Status waited = ledger_->wait(); !waited) throw waited.error();
  if (const std::optional<Error> failure = ledger_->take_failure()) throw *failure;
}

}  // namespace tinkex::torch_ext::remote
