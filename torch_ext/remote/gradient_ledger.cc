#include "torch_ext/remote/gradient_ledger.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "torch_ext/backend_errors.h"

namespace tinkex::torch_ext::remote {

using internal::MutexLock;

namespace {

constexpr char kRemedy[] =
    "accept_server_gradient() makes step() apply what the server holds as it is";

std::string some_passes(std::int64_t count) {
  return std::to_string(count) + (count == 1 ? " backward pass" : " backward passes");
}

Error gradient_cleared(std::int64_t held, std::int64_t lacking) {
  return invalid_argument(
      "of " + some_passes(held) + " that the server has summed, the gradient here lacks " +
      std::to_string(lacking) +
      ": zero_grad() or autograd::grad() came in between, the model's parameter was frozen during "
      "backward(), or step() was called within it, by a hook. The server's gradient cannot be "
      "discarded; call zero_grad() before backward(), and step() behind it. " +
      kRemedy);
}

Error gradient_of_others() {
  return invalid_argument(
      "the gradient here shows more than this model's backward passes have left: it was changed, "
      "belongs to another model, or load_state() or optim_step() of its client has made it void. "
      "Call zero_grad() before backward(). " +
      std::string(kRemedy));
}

Error gradient_changed() {
  return invalid_argument(
      "the gradient here was changed: clip_grad_norm_, a GradScaler or a hook came in between, and "
      "no such change reaches the server. To clip, set grad_clip_norm of RemoteAdamW; to scale, "
      "scale the loss. " +
      std::string(kRemedy));
}

/// Whether a step has failed for want of a gradient: behind a backward() that was refused, say, or
/// behind one that failed, for which the server has dropped what else it held.
bool found_no_gradient(const Error& error) {
  if (error.category() != ErrorCategory::kUser) return false;
  const auto says = [&](const char* text) {
    return error.message().find(text) != std::string::npos;
  };
  return says(kNoGradients) || says(kStepEnded);
}

template <class Passes, class Test>
std::int64_t count_of(const Passes& passes, const Test& test) {
  return std::ranges::count_if(passes, [&](const auto& pass) { return test(pass.second); });
}

}  // namespace

Status GradientLedger::known() const {
  if (!unknown_) return ok_status();
  if (unknown_->error.code() == ErrorCode::kClosed) return unknown_->error;
  return invalid_argument(
      "an earlier call of this model failed, and it is unknown what gradient the server holds. "
      "Load a checkpoint with load_state(), or say that it does not matter: " +
      std::string(kRemedy) +
      ", or fail and change nothing where the server has dropped it, after which the batch can be "
      "sent again. The failure was: " +
      unknown_->error.what());
}

Status GradientLedger::check_known() const {
  const MutexLock lock(mutex_);
  return known();
}

bool GradientLedger::weights_are_of(std::int64_t steps) const {
  return steps >= consumed_ && clearing_.upper_bound(steps) == clearing_.end();
}

Status GradientLedger::check_current(std::int64_t steps) const {
  const MutexLock lock(mutex_);
  if (weights_are_of(steps)) return ok_status();
  return invalid_argument(
      "a step() or load_state() came between forward() and backward(): the gradient would be that "
      "of other weights than the loss. Call backward() before it, or forward() again");
}

GradientLedger::Counts* GradientLedger::holder(std::int64_t steps) {
  if (steps < consumed_) return nullptr;
  const auto next = clearing_.upper_bound(steps);
  return next == clearing_.end() ? &now_ : &next->second;
}

std::int64_t GradientLedger::arrive(std::int64_t graphs) {
  const MutexLock lock(mutex_);
  now_.added += graphs;
  return std::exchange(arrived_, arrived_ + graphs);
}

GradientLedger::Ticket GradientLedger::count(const Pass& pass) {
  const MutexLock lock(mutex_);
  now_.passes.emplace(++passes_, pass);
  return {era_, steps_, passes_};
}

Status GradientLedger::open(const Ticket& loss) const {
  if (now_.passes.contains(loss.pass)) return ok_status();
  if (accepted_losses_.contains(loss.pass)) {
    return invalid_argument(
        "backward() of a loss that the server computed came after accept_server_gradient(), which "
        "has counted its gradient as wanted. Nothing is left to do but step(); computing it again "
        "would sum it twice");
  }
  return invalid_argument(
      "backward() of a loss that the server computed came after a step() or load_state(): its "
      "gradient, which was summed when it was computed, is not held any more. Compute it again");
}

Status GradientLedger::check_open(const Ticket& loss) const {
  const MutexLock lock(mutex_);
  return open(loss);
}

Status GradientLedger::settle_loss(const Ticket& loss, std::optional<std::int64_t> before) {
  const MutexLock lock(mutex_);
  if (Status still_open = open(loss); !still_open) return still_open;
  now_.passes[loss.pass] = {.graphs = 1, .before = before};
  return ok_status();
}

Status GradientLedger::check_shown(double shown) const {
  if (shown != std::floor(shown) || shown < 0) return gradient_changed();
  const double cleared = static_cast<double>(arrived_) - shown;  // the anchor shows the last
  const auto has_graphs = [](const Pass& pass) { return pass.graphs > 0; };
  const auto lacking = [&](const Pass& pass) {
    if (!has_graphs(pass) || pass.cleared) return false;
    return !pass.before || static_cast<double>(*pass.before) < cleared;
  };
  if (const std::int64_t unseen = count_of(now_.passes, lacking); unseen > 0)
    return gradient_cleared(count_of(now_.passes, has_graphs), unseen);
  if (shown > static_cast<double>(now_.added)) return gradient_of_others();
  return ok_status();
}

Result<std::optional<GradientLedger::Ticket>> GradientLedger::begin_step(double shown) {
  const MutexLock lock(mutex_);
  if (Status all_known = known(); !all_known) return all_known.error();
  const auto open = [](const Pass& pass) { return pass.open; };
  if (const std::int64_t losses = count_of(now_.passes, open); losses > 0) {
    return invalid_argument(
        "the server holds the gradient of " + std::to_string(losses) +
        " loss() whose backward() was not called, and cannot discard it. Call backward(), or "
        "compute a loss of which only the value is wanted without gradients. " +
        kRemedy);
  }
  if (Status all_shown = check_shown(shown); !all_shown) return all_shown.error();
  // The caller clears the anchor now. Noted now, too: at the end of the step there may be passes
  // that a refused load has left, of which the anchor was not asked here.
  now_.added = 0;
  for (auto& [number, pass] : now_.passes) pass.cleared = true;
  if (now_.passes.empty()) return std::optional<Ticket>();
  return std::optional<Ticket>(count_change());
}

GradientLedger::Ticket GradientLedger::count_change() {
  const Ticket ticket{era_, ++steps_, 0};
  leaving_.insert(ticket.steps);
  clearing_[ticket.steps] = std::exchange(now_, {});
  return ticket;
}

GradientLedger::Ticket GradientLedger::begin_change() {
  const MutexLock lock(mutex_);
  return count_change();
}

void GradientLedger::has_its_place(std::int64_t change) {
  const MutexLock lock(mutex_);
  leaving_.erase(change);
}

void GradientLedger::fail(const Ticket& ticket, const Error& error, Report report) {
  const auto note = [&](std::optional<Failure>& first) {
    if (!first) first = Failure{error, ticket.steps};
    first->steps = std::max(first->steps, ticket.steps);  // a load ends it if it came after all
  };
  if (ticket.steps < known_from_) return;  // a load that succeeded has ended all that came of it
  if (report == Report::kNextCall) note(unreported_);
  const bool changed_nothing = error.not_accepted() || found_no_gradient(error);
  if (!changed_nothing && ticket.era == era_) note(unknown_);
}

GradientLedger::Before GradientLedger::before_step(const Result<OptimStepResponse>& result) {
  if (result) return Before::kGone;
  if (result.error().not_accepted()) return Before::kStillThere;
  return found_no_gradient(result.error()) ? Before::kNone : Before::kGone;
}

void GradientLedger::end_change(const Ticket& ticket, Before before) {
  if (ticket.era != era_) return;
  if (before == Before::kNone) {
    // Not even what was sent before an earlier load is held, whose end is still to come.
    for (auto& [number, counts] : clearing_) {
      if (number <= ticket.steps) counts.passes.clear();
    }
  }
  auto node = clearing_.extract(ticket.steps);
  if (before == Before::kGone) {
    accepted_losses_.clear();
    consumed_ = std::max(consumed_, ticket.steps);
    return;
  }
  Counts* const heir = holder(ticket.steps);
  if (node.empty() || heir == nullptr) return;
  heir->passes.merge(node.mapped().passes);
  heir->added += node.mapped().added;
}

void GradientLedger::end_pass(const Ticket& ticket, const Result<ForwardBackwardOutput>& result,
                              Report report) {
  const MutexLock lock(mutex_);
  if (result) {
    backward_metrics_ = result->metrics;
    return;
  }
  Counts* const counts = ticket.era == era_ ? holder(ticket.steps) : nullptr;
  if (counts != nullptr) counts->passes.erase(ticket.pass);
  fail(ticket, result.error(), report);
}

void GradientLedger::end_step(const Ticket& ticket, const Result<OptimStepResponse>& result,
                              Report report) {
  const MutexLock lock(mutex_);
  end_change(ticket, before_step(result));
  if (!result) fail(ticket, result.error(), report);
}

void GradientLedger::end_other_step(const Ticket& ticket, const Result<OptimStepResponse>& result,
                                    Report report) {
  if (result) return end_step(ticket, result, report);
  end_step(ticket, Error(result.error()).with_context("optim_step()"), report);
}

void GradientLedger::end_load(const Ticket& ticket, const Result<LoadWeightsResponse>& result,
                              Report report) {
  const MutexLock lock(mutex_);
  const bool refused = !result && result.error().not_accepted();
  end_change(ticket, refused ? Before::kStillThere : Before::kGone);
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
  const auto has_passes = [](const auto& change) { return !change.second.passes.empty(); };
  // A step or load that has no place yet may still leave its passes.
  const bool perhaps =
      unknown_ || !now_.passes.empty() || std::ranges::any_of(clearing_, has_passes);
  const auto note_losses = [&](const Counts& counts) {
    for (const auto& [number, pass] : counts.passes) {
      if (pass.open) accepted_losses_.insert(number);
    }
  };
  note_losses(now_);
  for (const auto& [number, counts] : clearing_) note_losses(counts);
  unknown_.reset();
  if (unreported_ && !unreported_->error.not_accepted()) unreported_.reset();
  told_.reset();
  ++era_;
  if (!clearing_.empty()) consumed_ = std::max(consumed_, clearing_.rbegin()->first);
  clearing_.clear();
  now_ = {};
  if (perhaps) now_.passes.emplace(++passes_, Pass{});
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

std::optional<Error> GradientLedger::take_failure_beside_calls(std::optional<std::int64_t> before) {
  const MutexLock lock(mutex_);
  const std::optional<Failure> failure = std::exchange(unreported_, std::nullopt);
  if (!failure) return std::nullopt;
  for (auto& [number, pass] : now_.passes) {
    if (before && std::exchange(pass.cleared, false)) pass.before = before;
  }
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
  return leaving_.empty() ? steps_ : *leaving_.begin() - 1;
}

std::int64_t GradientLedger::show_again() {
  const MutexLock lock(mutex_);
  std::int64_t again = 0;
  for (auto& [number, pass] : now_.passes) {
    if (!std::exchange(pass.cleared, false)) continue;
    pass.before = arrived_ + again;
    again += pass.graphs;
  }
  arrived_ += again;
  now_.added += again;
  return again;
}

Metrics GradientLedger::backward_metrics() const {
  const MutexLock lock(mutex_);
  return backward_metrics_;
}

}  // namespace tinkex::torch_ext::remote
