#include "torch_ext/remote/gradient_ledger.h"

#include <cmath>
#include <string>

namespace tinkex::torch_ext::remote {

using internal::MutexLock;

namespace {

constexpr char kRemedy[] =
    "accept_server_gradient() makes step() apply what the server holds as it is";

/// Something other than backward() has touched the anchor's gradient.
Error gradient_changed(double shown, std::int64_t held) {
  const bool whole = shown == std::floor(shown);
  if (whole && shown < static_cast<double>(held)) {
    return invalid_argument(
        "of " + std::to_string(held) + (held == 1 ? " backward pass" : " backward passes") +
        " that the server has summed, the gradient here shows " +
        std::to_string(static_cast<std::int64_t>(shown)) +
        ": zero_grad() or autograd::grad() came in between. The server's gradient cannot be "
        "discarded; call zero_grad() before backward(). " +
        kRemedy);
  }
  if (whole) {
    return invalid_argument(
        "the gradient here shows more than this model's backward passes have left: it was changed, "
        "or belongs to another model. Call zero_grad() before backward(). " +
        std::string(kRemedy));
  }
  return invalid_argument(
      "the gradient here was changed: clip_grad_norm_, a GradScaler or a hook came in between, and "
      "no such change reaches the server. To clip, set grad_clip_norm of RemoteAdamW; to scale, "
      "scale the loss. " +
      std::string(kRemedy));
}

}  // namespace

Status GradientLedger::check_known() const {
  if (!unknown_) return ok_status();
  return invalid_argument(
      "an earlier call of this model failed, and it is unknown what gradient the server holds. "
      "Load a checkpoint with load_state(), or say that it does not matter: " +
      std::string(kRemedy) + ". The failure was: " + unknown_->what());
}

bool GradientLedger::current(const Ticket& ticket) const {
  return ticket.era == held_.era && ticket.steps == held_.steps;
}

void GradientLedger::collect() {
  const MutexLock lock(mutex_);
  ++collected_;
}

Result<GradientLedger::Ticket> GradientLedger::begin_backward(std::int64_t anchored) {
  const MutexLock lock(mutex_);
  if (Status known = check_known(); !known) return known.error();
  const Ticket ticket{held_.era, held_.steps, anchored, anchored == 0 ? 1 : 0};
  held_.anchored += ticket.anchored;
  held_.direct += ticket.direct;
  return ticket;
}

Result<GradientLedger::Ticket> GradientLedger::begin_loss() {
  const MutexLock lock(mutex_);
  if (Status known = check_known(); !known) return known.error();
  ++open_losses_;
  return Ticket{held_.era, held_.steps, 0, 0};
}

Status GradientLedger::settle_loss(const Ticket& loss) {
  const MutexLock lock(mutex_);
  if (!current(loss)) {
    return invalid_argument(
        "backward() of a loss that the server computed came after a step(), load_state() or "
        "accept_server_gradient(): its gradient, which was summed when it was computed, is not "
        "held any more. Compute it again");
  }
  --open_losses_;
  ++held_.anchored;
  return ok_status();
}

Result<std::optional<GradientLedger::Ticket>> GradientLedger::begin_step(double shown) {
  const MutexLock lock(mutex_);
  if (Status known = check_known(); !known) return known.error();
  if (open_losses_ > 0) {
    return invalid_argument(
        "the server holds the gradient of " + std::to_string(open_losses_) +
        " loss() whose backward() was not called, and cannot discard it. Call backward(), or "
        "compute a loss of which only the value is wanted without gradients. " +
        kRemedy);
  }
  const double least = static_cast<double>(held_.anchored - unshown_);
  const bool possible =
      shown >= least && shown <= static_cast<double>(collected_) && shown == std::floor(shown);
  if (!possible) return gradient_changed(shown, held_.anchored);
  collected_ = 0;
  unshown_ = 0;
  if (held_.anchored == 0 && held_.direct == 0) return std::optional<Ticket>();
  const Ticket ticket{held_.era, held_.steps + 1, held_.anchored, held_.direct};
  held_ = {ticket.era, ticket.steps, 0, 0};
  return std::optional<Ticket>(ticket);
}

void GradientLedger::fail(const Ticket& ticket, const Error& error, Report report) {
  if (report == Report::kNextCall && !unreported_) unreported_ = error;
  if (ticket.era == held_.era && !error.not_accepted() && !unknown_) unknown_ = error;
}

void GradientLedger::end_backward(const Ticket& ticket, const Result<ForwardBackwardOutput>& result,
                                  Report report) {
  const MutexLock lock(mutex_);
  if (result) {
    backward_metrics_ = result->metrics;
    return;
  }
  if (current(ticket)) {
    held_.anchored -= ticket.anchored;
    held_.direct -= ticket.direct;
  }
  fail(ticket, result.error(), report);
}

void GradientLedger::end_loss(const Ticket& ticket, const Result<ForwardBackwardOutput>& result) {
  const MutexLock lock(mutex_);
  if (result) {
    backward_metrics_ = result->metrics;
    return;
  }
  if (current(ticket)) --open_losses_;
  fail(ticket, result.error(), Report::kCaller);
}

void GradientLedger::end_step(const Ticket& ticket, const Result<OptimStepResponse>& result,
                              Report report) {
  const MutexLock lock(mutex_);
  if (result) return;
  if (result.error().not_accepted() && current(ticket)) {
    held_.anchored += ticket.anchored;
    held_.direct += ticket.direct;
    collected_ += ticket.anchored;
    unshown_ += ticket.anchored;
  }
  fail(ticket, result.error(), report);
}

void GradientLedger::add_under_way(Future<Unit> done) {
  const MutexLock lock(mutex_);
  std::erase_if(under_way_, [](const Future<Unit>& earlier) { return earlier.ready(); });
  under_way_.push_back(std::move(done));
}

void GradientLedger::start_era() {
  unknown_.reset();
  unreported_.reset();
  open_losses_ = 0;
  collected_ = 0;
  unshown_ = 0;
  held_ = {held_.era + 1, held_.steps, 0, 0};
}

void GradientLedger::accept() {
  const MutexLock lock(mutex_);
  const bool perhaps = unknown_ || open_losses_ > 0 || held_.anchored > 0 || held_.direct > 0;
  start_era();
  held_.direct = perhaps ? 1 : 0;
}

void GradientLedger::forget() {
  const MutexLock lock(mutex_);
  start_era();
  ++held_.steps;
}

Status GradientLedger::wait() {
  std::vector<Future<Unit>> waiting;
  {
    const MutexLock lock(mutex_);
    waiting = std::exchange(under_way_, {});
  }
  Status status = ok_status();
  for (Future<Unit>& one : waiting) {
    const Result<Unit>& done = one.get();
    if (done.ok()) continue;
    status = done.error();  // on an executor thread: it is watched on
    add_under_way(std::move(one));
  }
  return status;
}

std::optional<Error> GradientLedger::take_failure() {
  const MutexLock lock(mutex_);
  return std::exchange(unreported_, std::nullopt);
}

std::int64_t GradientLedger::steps() const {
  const MutexLock lock(mutex_);
  return held_.steps;
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
