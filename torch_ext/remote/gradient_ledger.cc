#include "torch_ext/remote/gradient_ledger.h"

#include <algorithm>
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
        "belongs to another model, or load_state() has made it void. Call zero_grad() before "
        "backward(). " +
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
      std::string(kRemedy) + ". The failure was: " + unknown_->error.what());
}

bool GradientLedger::current(const Ticket& ticket) const {
  return ticket.era == held_.era && ticket.steps >= oldest_;
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
  oldest_ = ticket.steps;
  return std::optional<Ticket>(ticket);
}

GradientLedger::Load GradientLedger::begin_load() {
  const MutexLock lock(mutex_);
  const Load load{held_, oldest_, collected_, unshown_, open_losses_};
  held_ = {load.held.era, load.held.steps + 1, 0, 0};
  oldest_ = held_.steps;
  collected_ = unshown_ = open_losses_ = 0;
  return load;
}

void GradientLedger::fail(const Ticket& ticket, const Error& error, Report report) {
  const Failure failure{error, ticket.steps};
  if (report == Report::kNextCall && !unreported_) unreported_ = failure;
  if (error.not_accepted() || unknown_) return;
  if (ticket.era == held_.era && ticket.steps >= known_from_) unknown_ = failure;
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

void GradientLedger::end_load(const Load& load, const Result<LoadWeightsResponse>& result) {
  const MutexLock lock(mutex_);
  const Ticket ticket{load.held.era, load.held.steps + 1, 0, 0};
  if (!result) {
    fail(ticket, Error(result.error()).with_context("load_state()"), Report::kCaller);
    if (!result.error().not_accepted() || ticket.era != held_.era || ticket.steps != oldest_) {
      return;  // or a step was sent since then: it applies what there was
    }
    oldest_ = load.oldest;
    held_.anchored += load.held.anchored;
    held_.direct += load.held.direct;
    collected_ += load.collected;
    unshown_ += load.unshown;
    open_losses_ += load.open_losses;
    return;
  }
  known_from_ = std::max(known_from_, ticket.steps);
  if (unknown_ && unknown_->steps < known_from_) unknown_.reset();
  if (unreported_ && unreported_->steps < known_from_) unreported_.reset();
}

void GradientLedger::add_under_way(Future<Unit> done) {
  const MutexLock lock(mutex_);
  std::erase_if(under_way_, [](const Future<Unit>& earlier) { return earlier.ready(); });
  under_way_.push_back(std::move(done));
}

void GradientLedger::start_era() {
  unknown_.reset();
  unreported_.reset();
  told_.reset();
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
  if (!unreported_) return std::nullopt;
  told_ = std::exchange(unreported_, std::nullopt);
  return told_->error;
}

void GradientLedger::tell_again(std::string_view text) {
  const MutexLock lock(mutex_);
  if (!told_ || text.find(told_->error.what()) == std::string_view::npos) return;
  unreported_ = std::exchange(told_, std::nullopt);  // it came before any that waits now
}

std::int64_t GradientLedger::steps() const {
  const MutexLock lock(mutex_);
  return held_.steps;
}

bool GradientLedger::is_current(std::int64_t steps) const {
  const MutexLock lock(mutex_);
  return steps >= oldest_;
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
