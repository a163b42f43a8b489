#include "torch_ext/remote/gradient_ledger.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

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
        "belongs to another model, or load_state() or optim_step() of its client has made it void. "
        "Call zero_grad() before backward(). " +
        std::string(kRemedy));
  }
  return invalid_argument(
      "the gradient here was changed: clip_grad_norm_, a GradScaler or a hook came in between, and "
      "no such change reaches the server. To clip, set grad_clip_norm of RemoteAdamW; to scale, "
      "scale the loss. " +
      std::string(kRemedy));
}

/// A step that fails for want of a gradient has changed nothing either, though the server took it:
/// behind a backward() that was refused, say.
bool changed_nothing(const Error& error) {
  return error.not_accepted() ||
         (error.category() == ErrorCategory::kUser &&
          error.message().find("optim_step: no gradients accumulated") != std::string::npos);
}

}  // namespace

std::int64_t GradientLedger::Counts::anchored() const {
  std::int64_t sum = 0;
  for (const Pass& pass : passes) sum += pass.anchored;
  return sum;
}

std::int64_t GradientLedger::Counts::must_show() const {
  std::int64_t sum = 0;
  for (const Pass& pass : passes) sum += pass.shown ? pass.anchored : 0;
  return sum;
}

Status GradientLedger::check_known() const {
  if (!unknown_) return ok_status();
  return invalid_argument(
      "an earlier call of this model failed, and it is unknown what gradient the server holds. "
      "Load a checkpoint with load_state(), or say that it does not matter: " +
      std::string(kRemedy) + ". The failure was: " + unknown_->error.what());
}

bool GradientLedger::weights_are_of(std::int64_t steps) const {
  return steps >= consumed_ && clearing_.upper_bound(steps) == clearing_.end();
}

GradientLedger::Counts* GradientLedger::holder(std::int64_t steps) {
  if (steps < consumed_) return nullptr;
  const auto next = clearing_.upper_bound(steps);
  return next == clearing_.end() ? &now_ : &next->second;
}

void GradientLedger::collect() {
  const MutexLock lock(mutex_);
  ++now_.collected;
}

Result<GradientLedger::Ticket> GradientLedger::begin_backward(std::int64_t anchored) {
  const MutexLock lock(mutex_);
  if (Status known = check_known(); !known) return known.error();
  return Ticket{era_, steps_, add_pass(anchored)};
}

std::int64_t GradientLedger::add_pass(std::int64_t anchored) {
  now_.passes.push_back({++passes_, anchored, /*shown=*/true});
  return passes_;
}

Result<GradientLedger::Ticket> GradientLedger::begin_loss() {
  const MutexLock lock(mutex_);
  if (Status known = check_known(); !known) return known.error();
  ++now_.open_losses;
  return Ticket{era_, steps_, 0};
}

Status GradientLedger::check_open(const Ticket& loss) const {
  const MutexLock lock(mutex_);
  return open(loss);
}

Status GradientLedger::open(const Ticket& loss) const {
  if (loss.era == era_ && weights_are_of(loss.steps)) return ok_status();
  return invalid_argument(
      "backward() of a loss that the server computed came after a step(), load_state() or "
      "accept_server_gradient(): its gradient, which was summed when it was computed, is not "
      "held any more. Compute it again");
}

Status GradientLedger::settle_loss(const Ticket& loss) {
  const MutexLock lock(mutex_);
  if (Status still_open = open(loss); !still_open) return still_open;
  --now_.open_losses;
  (void)add_pass(1);
  return ok_status();
}

Result<std::optional<GradientLedger::Ticket>> GradientLedger::begin_step(double shown) {
  const MutexLock lock(mutex_);
  if (Status known = check_known(); !known) return known.error();
  if (now_.open_losses > 0) {
    return invalid_argument(
        "the server holds the gradient of " + std::to_string(now_.open_losses) +
        " loss() whose backward() was not called, and cannot discard it. Call backward(), or "
        "compute a loss of which only the value is wanted without gradients. " +
        kRemedy);
  }
  const bool possible = shown >= static_cast<double>(now_.must_show()) &&
                        shown <= static_cast<double>(now_.collected) && shown == std::floor(shown);
  if (!possible) return gradient_changed(shown, now_.anchored());
  // The caller clears the anchor now. Noted now, too: at the end of the step there may be passes
  // that a refused load has left, of which the anchor was not asked here.
  now_.collected = 0;
  for (Pass& pass : now_.passes) pass.shown = false;
  if (now_.passes.empty()) return std::optional<Ticket>();
  return std::optional<Ticket>(begin_clearing());
}

GradientLedger::Ticket GradientLedger::begin_clearing() {
  const Ticket ticket{era_, ++steps_, 0};
  clearing_[ticket.steps] = std::exchange(now_, {});
  return ticket;
}

GradientLedger::Ticket GradientLedger::begin_load() {
  const MutexLock lock(mutex_);
  return begin_clearing();
}

GradientLedger::Ticket GradientLedger::begin_other_step() { return begin_load(); }

void GradientLedger::fail(const Ticket& ticket, const Error& error, Report report) {
  const auto note = [&](std::optional<Failure>& first) {
    if (!first) first = Failure{error, ticket.steps};
    first->steps = std::max(first->steps, ticket.steps);  // a load ends it if it came after all
  };
  if (ticket.steps < known_from_) return;  // a load that succeeded has ended all that came of it
  if (report == Report::kNextCall) note(unreported_);
  if (!changed_nothing(error) && ticket.era == era_) note(unknown_);
}

void GradientLedger::take_back(const Ticket& ticket) {
  Counts* const counts = ticket.era == era_ ? holder(ticket.steps) : nullptr;
  if (counts == nullptr) return;
  std::erase_if(counts->passes, [&](const Pass& pass) { return pass.number == ticket.pass; });
}

void GradientLedger::end_clearing(const Ticket& ticket, bool refused) {
  if (ticket.era != era_) return;
  const auto node = clearing_.extract(ticket.steps);
  if (!refused) {
    consumed_ = std::max(consumed_, ticket.steps);
    return;
  }
  Counts* const heir = holder(ticket.steps);
  if (node.empty() || heir == nullptr) return;
  const Counts& counts = node.mapped();
  heir->passes.insert(heir->passes.end(), counts.passes.begin(), counts.passes.end());
  heir->collected += counts.collected;
  heir->open_losses += counts.open_losses;
}

void GradientLedger::end_backward(const Ticket& ticket, const Result<ForwardBackwardOutput>& result,
                                  Report report) {
  const MutexLock lock(mutex_);
  if (result) {
    backward_metrics_ = result->metrics;
    return;
  }
  take_back(ticket);
  fail(ticket, result.error(), report);
}

void GradientLedger::end_loss(const Ticket& ticket, const Result<ForwardBackwardOutput>& result,
                              Report report) {
  const MutexLock lock(mutex_);
  if (result) {
    backward_metrics_ = result->metrics;
    return;
  }
  Counts* const counts = ticket.era == era_ ? holder(ticket.steps) : nullptr;
  if (counts != nullptr) --counts->open_losses;
  fail(ticket, result.error(), report);
}

void GradientLedger::end_step(const Ticket& ticket, const Result<OptimStepResponse>& result,
                              Report report) {
  const MutexLock lock(mutex_);
  end_clearing(ticket, !result && changed_nothing(result.error()));
  if (!result) fail(ticket, result.error(), report);
}

void GradientLedger::end_other_step(const Ticket& ticket, const Result<OptimStepResponse>& result,
                                    Report report) {
  const MutexLock lock(mutex_);
  end_clearing(ticket, !result && changed_nothing(result.error()));
  if (!result) fail(ticket, Error(result.error()).with_context("optim_step()"), report);
}

void GradientLedger::end_load(const Ticket& ticket, const Result<LoadWeightsResponse>& result,
                              Report report) {
  const MutexLock lock(mutex_);
  end_clearing(ticket, !result && result.error().not_accepted());
  if (!result) return fail(ticket, Error(result.error()).with_context("load_state()"), report);
  known_from_ = std::max(known_from_, ticket.steps);
  if (unknown_ && unknown_->steps < known_from_) unknown_.reset();
  if (unreported_ && unreported_->steps < known_from_) unreported_.reset();
}

void GradientLedger::add_under_way(Future<Unit> done) {
  const MutexLock lock(mutex_);
  std::erase_if(under_way_, [](const Future<Unit>& earlier) { return earlier.ready(); });
  under_way_.push_back(std::move(done));
}

void GradientLedger::accept() {
  const MutexLock lock(mutex_);
  const bool perhaps = unknown_ || now_.open_losses > 0 || !now_.passes.empty();
  unknown_.reset();
  unreported_.reset();
  told_.reset();
  ++era_;
  if (!clearing_.empty()) consumed_ = std::max(consumed_, clearing_.rbegin()->first);
  clearing_.clear();
  now_ = {};
  if (perhaps) (void)add_pass(0);
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
    if (one.ready()) continue;
    status = done.error();  // on an executor thread: it is watched on
    add_under_way(std::move(one));
  }
  return status;
}

std::optional<Error> GradientLedger::take_failure() {
  const MutexLock lock(mutex_);
  told_ = std::exchange(unreported_, std::nullopt);
  if (!told_) return std::nullopt;
  return told_->error;
}

std::optional<Error> GradientLedger::take_failure_beside_calls() {
  const MutexLock lock(mutex_);
  const std::optional<Failure> failure = std::exchange(unreported_, std::nullopt);
  if (!failure) return std::nullopt;
  return failure->error;
}

void GradientLedger::tell_again(std::string_view text) {
  const MutexLock lock(mutex_);
  if (!told_) return;
  // Not a failure of its own that only quotes it.
  const std::size_t begin = text.find("tinkex: [");
  if (begin == text.npos || !text.substr(begin).starts_with(told_->error.what())) return;
  unreported_ = std::exchange(told_, std::nullopt);  // it came before any that waits now
}

std::int64_t GradientLedger::steps() const {
  const MutexLock lock(mutex_);
  return steps_;
}

bool GradientLedger::is_current(std::int64_t steps) const {
  const MutexLock lock(mutex_);
  return weights_are_of(steps);
}

std::int64_t GradientLedger::show_all() {
  const MutexLock lock(mutex_);
  for (Pass& pass : now_.passes) pass.shown = true;
  const std::int64_t anchored = now_.anchored();
  now_.collected = std::max(now_.collected, anchored);
  return anchored;
}

Metrics GradientLedger::backward_metrics() const {
  const MutexLock lock(mutex_);
  return backward_metrics_;
}

}  // namespace tinkex::torch_ext::remote
