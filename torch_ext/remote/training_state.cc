#include "torch_ext/remote/training_state.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <atomic>

#include "tinkex/base/call_stop.h"

namespace tinkex::torch_ext::remote {
namespace {

using Ticket = GradientLedger::Ticket;
constexpr auto end_of_pass = end_of<&GradientLedger::end_pass>;
constexpr auto end_of_step = end_of<&GradientLedger::end_step>;
constexpr auto end_of_load = end_of<&GradientLedger::end_load>;

double number(const at::Tensor& scalar) { return *scalar.const_data_ptr<double>(); }

/// How many graphs a gradient of the anchor shows.
double shown_by(const at::Tensor& gradient) {
  return gradient.defined() ? number(gradient) / kStandIn : 0;
}

/// Calls `touch`, which reads or writes the anchor's gradient, unless the caller has left this call
/// to another thread and has given it up: then the gradient is his own again. Who gives it up
/// meanwhile waits for the end of `touch`. False: it was not called.
template <class Touch>
bool touch_gradient(const Touch& touch) {
  const auto given_up = std::make_shared<std::atomic<bool>>(false);
  const internal::CallStop::Part part([given_up] { *given_up = true; });
  if (*given_up) return false;
  touch();
  return true;
}

Error given_up(const char* what) {
  return Error(ErrorCode::kCancelled, std::string(what) + " was given up before it began")
      .with_not_accepted(true);
}

Error frozen(const char* what) {
  return invalid_argument(
      std::string(what) +
      " of a model whose parameter is frozen (requires_grad is false): no backward() reaches it, "
      "so it would not be trained. requires_grad_(true) on its parameter makes it trainable again; "
      "of a model that shall stay as it is, call forward() and loss() alone");
}

}  // namespace

at::Tensor new_anchor() {
  const c10::InferenceMode off(false);  // a tensor that is made within it never has a gradient
  return at::zeros({1}, at::kDouble).requires_grad_(true);
}

template <class T, class End>
T TrainingState::wait_for(Future<T> sent, const End& end) {
  const Result<T>& result = sent.get();
  if (!result && result.error().code() == ErrorCode::kWouldDeadlock) {
    Error error = result.error();
    (void)watch(std::move(sent), end, Report::kNextCall);
    throw std::move(error).with_context("the call was sent, but cannot be waited for here");
  }
  end(*ledger_, result, Report::kCaller);
  return std::move(sent).get().value();
}

/// The failure may be that of a step.
void TrainingState::throw_failure() {
  const std::optional<Error> failure = ledger_->take_failure();
  if (!failure) return;
  restore_anchor();
  throw *failure;
}

void TrainingState::check_before() {
  throw_failure();
  if (number(anchor_) == 0) return;
  throw invalid_argument(
      "the parameter of a remote model was changed here, which trains nothing: an optimizer of "
      "LibTorch's, or an in-place operation, was given it. Give the model to RemoteAdamW, and only "
      "the parameters of local modules to other optimizers; then call accept_server_gradient() to "
      "go on");
}

void TrainingState::restore_anchor() {
  // Who has given up the step does without: the ledger knows that the gradient may not show it.
  (void)touch_gradient([this] {
    const std::int64_t again = ledger_->show_again();
    if (again == 0) return;
    const c10::InferenceMode off(false);
    at::Tensor& gradient = anchor_.mutable_grad();
    const double shown = gradient.defined() ? number(gradient) : 0;
    gradient = at::full({1}, shown + kStandIn * static_cast<double>(again), at::kDouble);
  });
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

void TrainingState::backward(std::span<const Datum> data, const Graphs& graphs) {
  const std::shared_ptr<const void> pass = before_waiting_ ? before_waiting_() : nullptr;
  if (const auto failure = ledger_->take_failure_beside_calls(graphs.before)) throw *failure;
  ledger_->check_known().value();
  // Again: a hook may have made a step since their nodes were reached, or another thread.
  ledger_->check_current(graphs.steps).value();
  auto [sent, ticket] =
      ledger_->send_pass([&] { return client_.forward_backward(data, loss::kCrossEntropy); },
                         {.graphs = graphs.count, .before = graphs.before});
  const auto end = end_of_pass(ticket);
  // What is refused at once is told at once.
  if (pipelined_ && !sent.ready()) {
    (void)watch(std::move(sent), end, Report::kNextCall);
    return;
  }
  wait_for(std::move(sent), end);
}

std::pair<ForwardBackwardOutput, Ticket> TrainingState::loss(std::span<const Datum> data,
                                                             const std::string& loss_fn,
                                                             const LossConfig& config) {
  check_before();
  // Before the server sums a gradient: who is told of an earlier failure after that would have no
  // graph to settle it. Scripts and Python do not say here whether the model is pipelined.
  synchronize();
  ledger_->check_known().value();
  auto [sent, ticket] = ledger_->send_pass(
      [&] { return client_.forward_backward(data, loss_fn, config); }, {.open = true});
  return {wait_for(std::move(sent), end_of_pass(ticket)), ticket};
}

Future<ForwardBackwardOutput> TrainingState::forward_backward(std::span<const Datum> data,
                                                              const std::string& loss_fn,
                                                              const LossConfig& config) {
  check_before();
  if (!anchor_.requires_grad()) throw frozen("forward_backward()");
  ledger_->check_known().value();
  auto [sent, ticket] =
      ledger_->send_pass([&] { return client_.forward_backward(data, loss_fn, config); }, {});
  return watch(std::move(sent), end_of_pass(ticket), Report::kCaller);
}

std::optional<Ticket> TrainingState::begin_step() {
  check_before();
  std::optional<Ticket> ticket;
  const bool begun = touch_gradient([&] {
    ticket = ledger_->begin_step(shown_by(anchor_.grad())).value();
    anchor_.mutable_grad().reset();  // the ledger has noted what it has shown
    if (!ticket && !anchor_.requires_grad()) throw frozen("step()");
  });
  if (!begun) throw given_up("step()");
  return ticket;
}

std::optional<OptimStepResponse> TrainingState::step(const AdamParams& params) {
  const std::optional<Ticket> ticket = begin_step();
  if (!ticket) return std::nullopt;
  const auto end = end_of_step(*ticket);
  Future<OptimStepResponse> sent = ledger_->send_change(
      *ticket, [&] { return client_.optim_step(params); }, end);
  if (pipelined_) {
    (void)watch(std::move(sent), end, Report::kNextCall);
    return std::nullopt;
  }
  try {
    return wait_for(std::move(sent), end);
  } catch (const Error&) {
    restore_anchor();  // a step that was not taken leaves its gradient
    throw;
  }
}

Future<OptimStepResponse> TrainingState::step_async(const AdamParams& params) {
  const std::optional<Ticket> ticket = begin_step();
  if (!ticket) return Future<OptimStepResponse>::ready_with(OptimStepResponse{});
  const auto end = end_of_step(*ticket);
  Future<OptimStepResponse> sent = ledger_->send_change(
      *ticket, [&] { return client_.optim_step(params); }, end);
  return watch(std::move(sent), end, Report::kCaller);
}

void TrainingState::load_state(const std::string& path, bool with_optimizer) {
  const Ticket ticket = ledger_->begin_change();
  const auto end = end_of_load(ticket);
  wait_for(ledger_->send_change(
               ticket, [&] { return client_.load_state(path, with_optimizer); }, end),
           end);
  accept_server_gradient();
}

void TrainingState::accept_server_gradient() {
  if (const Status waited = ledger_->wait(); !waited) throw waited.error();
  const bool begun = touch_gradient([this] {
    ledger_->accept();
    if (number(anchor_) != 0) {
      const at::AutoGradMode no_grad(false);
      anchor_.zero_();
    }
    anchor_.mutable_grad().reset();
  });
  if (!begun) throw given_up("accept_server_gradient()");
}

void TrainingState::synchronize() {
  if (const Status waited = ledger_->wait(); !waited) throw waited.error();
  throw_failure();
}

}  // namespace tinkex::torch_ext::remote
