#include "torch_ext/remote/training_state.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <utility>

namespace tinkex::torch_ext::remote {
namespace {

double number(const at::Tensor& scalar) { return *scalar.const_data_ptr<double>(); }

/// How many graphs a gradient of the anchor shows.
double shown_by(const at::Tensor& gradient) {
  return gradient.defined() ? number(gradient) / kStandIn : 0;
}

void require(const Status& status) {
  if (!status) throw status.error();
}

}  // namespace

at::Tensor new_anchor() { return at::zeros({1}, at::kDouble).requires_grad_(true); }

TrainingState::TrainingState(TrainingClient client, at::Tensor anchor, bool pipelined,
                             std::shared_ptr<GradientLedger> ledger)
    : client_(std::move(client)),
      anchor_(std::move(anchor)),
      pipelined_(pipelined),
      ledger_(std::move(ledger)) {}

void TrainingState::check_anchor() const {
  if (number(anchor_) == 0) return;
  throw invalid_argument(
      "the parameter of a remote model was changed here, which trains nothing: an optimizer of "
      "LibTorch's, or an in-place operation, was given it. Give the model to RemoteAdamW, and only "
      "the parameters of local modules to other optimizers");
}

void TrainingState::report_failure() {
  const std::optional<Error> failure = ledger_->take_failure();
  if (!failure) return;
  restore_anchor();
  throw *failure;
}

void TrainingState::restore_anchor() {
  const std::int64_t anchored = ledger_->anchored();
  at::Tensor& gradient = anchor_.mutable_grad();
  if (anchored == 0) return gradient.reset();
  gradient = at::full({1}, kStandIn * static_cast<double>(anchored), at::kDouble);
}

ForwardBackwardOutput TrainingState::forward(std::span<const Datum> data,
                                             const std::string& loss_fn, const LossConfig& config) {
  check_anchor();
  ForwardBackwardOutput output = client_.forward(data, loss_fn, config).get().value();
  report_failure();  // what was sent before has finished before
  return output;
}

void TrainingState::backward(std::span<const Datum> data, std::int64_t graphs) {
  require(ledger_->begin_backward(graphs));
  Future<ForwardBackwardOutput> sent = client_.forward_backward(data, loss::kCrossEntropy);
  const auto end = [graphs](GradientLedger& ledger, const Result<ForwardBackwardOutput>& result) {
    ledger.end_backward(result, graphs);
  };
  // What is refused at once is told at once.
  if (pipelined_ && !sent.ready()) {
    (void)ledger_->watch(std::move(sent), end);
    return;
  }
  end(*ledger_, std::move(sent).get());
  report_failure();
}

ForwardBackwardOutput TrainingState::loss(std::span<const Datum> data, const std::string& loss_fn,
                                          const LossConfig& config) {
  check_anchor();
  require(ledger_->begin_loss());
  Result<ForwardBackwardOutput> result = client_.forward_backward(data, loss_fn, config).get();
  ledger_->end_loss(result);
  report_failure();
  return std::move(result).value();
}

Future<ForwardBackwardOutput> TrainingState::forward_backward(std::span<const Datum> data,
                                                              const std::string& loss_fn,
                                                              const LossConfig& config) {
  report_failure();
  require(ledger_->begin_backward(0));
  return ledger_->watch(client_.forward_backward(data, loss_fn, config),
                        [](GradientLedger& ledger, const Result<ForwardBackwardOutput>& result) {
                          ledger.end_backward(result, 0);
                        });
}

Future<OptimStepResponse> TrainingState::step(const AdamParams& params) {
  check_anchor();
  report_failure();
  const Result<bool> has_gradient = ledger_->begin_step(shown_by(anchor_.grad()));
  if (!has_gradient) throw has_gradient.error();
  if (!*has_gradient) return Future<OptimStepResponse>::ready_with(OptimStepResponse{});
  anchor_.mutable_grad().reset();
  return ledger_->watch(client_.optim_step(params),
                        [](GradientLedger& ledger, const Result<OptimStepResponse>& result) {
                          ledger.end_step(result);
                        });
}

std::optional<OptimStepResponse> TrainingState::finish(Future<OptimStepResponse> step) {
  if (pipelined_ && !step.ready()) return std::nullopt;
  Result<OptimStepResponse> result = std::move(step).get();
  report_failure();
  return std::move(result).value();
}

void TrainingState::accept_server_gradient() {
  ledger_->accept();
  restore_anchor();
}

void TrainingState::synchronize() {
  ledger_->wait();
  report_failure();
}

}  // namespace tinkex::torch_ext::remote
