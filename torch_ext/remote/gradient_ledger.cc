#include "torch_ext/remote/gradient_ledger.h"

#include <algorithm>
#include <string>

namespace tinkex::torch_ext::remote {

using internal::MutexLock;

namespace {

constexpr char kAccept[] =
    "accept_server_gradient() makes step() apply what the server holds as it is";

Error gradient_changed(double shown, std::int64_t held) {
  const std::string sent = std::to_string(held) +
                           (held == 1 ? " backward pass" : " backward passes") +
                           " of this model were sent, but its gradient here ";
  if (shown == 0) {
    return invalid_argument(
        sent +
        "is gone: zero_grad() or autograd::grad() came in between. The server's gradient "
        "cannot be discarded; call zero_grad() before backward(). " +
        kAccept);
  }
  return invalid_argument(
      sent +
      "was changed: clip_grad_norm_, a GradScaler or a hook came in between, and no such "
      "change reaches the server. To clip, set RemoteAdamWOptions::grad_clip_norm; to scale, "
      "scale the loss. " +
      kAccept);
}

}  // namespace

Status GradientLedger::check_known() const {
  if (!unknown_) return ok_status();
  Error why = *unknown_;
  return std::move(why).with_context(
      "an earlier call of this model failed, and it is unknown what gradient the server holds. "
      "Load a checkpoint and go on from there, or say that it does not matter: " +
      std::string(kAccept) + ". The failure was");
}

Status GradientLedger::begin_backward(std::int64_t anchored) {
  const MutexLock lock(mutex_);
  if (Status known = check_known(); !known) return known;
  held_.anchored += anchored;
  held_.direct = held_.direct || anchored == 0;
  return ok_status();
}

Status GradientLedger::begin_loss() {
  const MutexLock lock(mutex_);
  if (Status known = check_known(); !known) return known;
  ++open_losses_;
  return ok_status();
}

Status GradientLedger::settle_loss(std::int64_t steps) {
  const MutexLock lock(mutex_);
  if (steps != steps_ || open_losses_ == 0) {
    return invalid_argument(
        "backward() was called twice on a loss that the server computed, or after a step(): its "
        "gradient was summed on the server when the loss was computed, once. Compute it again");
  }
  --open_losses_;
  ++held_.anchored;
  return ok_status();
}

Result<bool> GradientLedger::begin_step(double shown) {
  const MutexLock lock(mutex_);
  if (Status known = check_known(); !known) return known.error();
  if (open_losses_ > 0) {
    return invalid_argument(
        "the server holds the gradient of " + std::to_string(open_losses_) +
        " loss() whose backward() was not called, and cannot discard it. Call backward(), or "
        "compute a loss of which only the value is wanted under torch::NoGradGuard. " +
        kAccept);
  }
  if (shown != static_cast<double>(held_.anchored)) return gradient_changed(shown, held_.anchored);
  if (held_.anchored == 0 && !held_.direct) return false;
  stepped_ = held_;
  held_ = {};
  ++steps_;
  return true;
}

void GradientLedger::fail(const Error& error) {
  if (!unreported_) unreported_ = error;
  if (!error.not_accepted() && !unknown_) unknown_ = error;
}

void GradientLedger::end_backward(const Result<ForwardBackwardOutput>& result,
                                  std::int64_t anchored) {
  const MutexLock lock(mutex_);
  if (result) {
    backward_metrics_ = result->metrics;
    return;
  }
  held_.anchored = std::max<std::int64_t>(0, held_.anchored - anchored);
  fail(result.error());
}

void GradientLedger::end_loss(const Result<ForwardBackwardOutput>& result) {
  const MutexLock lock(mutex_);
  if (result) {
    backward_metrics_ = result->metrics;
    return;
  }
  --open_losses_;
  fail(result.error());
}

void GradientLedger::end_step(const Result<OptimStepResponse>& result) {
  const MutexLock lock(mutex_);
  if (result) return;
  if (result.error().not_accepted()) {
    held_.anchored += stepped_.anchored;
    held_.direct = held_.direct || stepped_.direct;
  }
  fail(result.error());
}

void GradientLedger::add_under_way(Future<Unit> done) {
  const MutexLock lock(mutex_);
  std::erase_if(under_way_, [](const Future<Unit>& earlier) { return earlier.ready(); });
  under_way_.push_back(std::move(done));
}

void GradientLedger::accept() {
  const MutexLock lock(mutex_);
  unknown_.reset();
  unreported_.reset();
  open_losses_ = 0;
  held_ = {0, true};
}

void GradientLedger::wait() {
  std::vector<Future<Unit>> waiting;
  {
    const MutexLock lock(mutex_);
    waiting = std::exchange(under_way_, {});
  }
  for (Future<Unit>& one : waiting) (void)one.get();
}

std::optional<Error> GradientLedger::take_failure() {
  const MutexLock lock(mutex_);
  return std::exchange(unreported_, std::nullopt);
}

std::int64_t GradientLedger::steps() const {
  const MutexLock lock(mutex_);
  return steps_;
}

std::int64_t GradientLedger::anchored() const {
  const MutexLock lock(mutex_);
  return held_.anchored;
}

Metrics GradientLedger::backward_metrics() const {
  const MutexLock lock(mutex_);
  return backward_metrics_;
}

}  // namespace tinkex::torch_ext::remote
