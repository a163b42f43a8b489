#include "torch_ext/local/operation_queue.h"

#include <exception>
#include <utility>

#include "torch_ext/backend_errors.h"

namespace tinkex::torch_ext::local {
namespace {

/// Older records are forgotten; clients repeat within minutes, not after so many operations.
constexpr std::size_t kMaxRecords = 65'536;

std::string place_of(std::int64_t seq_id) {
  return seq_id == 0 ? "without a seq_id" : "with seq_id " + std::to_string(seq_id);
}

Error poisoned(std::int64_t failed_seq_id, OperationKind kind) {
  const std::string remedy =
      kind == OperationKind::kOptimStep
          ? std::string(kStepEnded) + "; send the whole batch again"
          : "call optim_step, which fails as well and ends that step (of the "
            "RemoteModel whose call failed accept_server_gradient(), then "
            "step()), then send the whole batch again";
  return Error(ErrorCode::kRequestFailed, "an earlier forward_backward of this step failed (" +
                                              place_of(failed_seq_id) +
                                              "), so its gradients were dropped; " + remedy)
      .with_category(ErrorCategory::kUser);
}

}  // namespace

std::string_view to_string(OperationKind kind) noexcept {
  switch (kind) {
    case OperationKind::kCreate: return "create_model";
    case OperationKind::kForward: return "forward";
    case OperationKind::kForwardBackward: return "forward_backward";
    case OperationKind::kOptimStep: return "optim_step";
    case OperationKind::kSave: return "save_weights";
    case OperationKind::kLoad: return "load_weights";
    case OperationKind::kUnload: return "unload_model";
  }
  return "operation";
}

OperationQueue::OperationQueue(Options options) : options_(std::move(options)) {}

Admission OperationQueue::submit(Operation operation) {
  internal::MutexLock lock(mutex_);
  if (auto known = known_locked(operation)) return *std::move(known);
  if (closed_) return {Admission::State::kClosed, "", closed_->message()};
  if (full_locked(operation)) {
    return {Admission::State::kFull, "",
            "too many operations wait for model " + options_.model_id + "; send it again later"};
  }
  Entry entry = make_entry(std::move(operation));
  Admission admission{Admission::State::kAccepted, entry.operation.request_id, ""};
  const std::int64_t seq_id = entry.operation.seq_id;
  if (seq_id == 0) {
    post_locked(std::move(entry));
    return admission;
  }
  records_[seq_id] = {entry.operation.digest, entry.operation.request_id};
  if (records_.size() > kMaxRecords) records_.erase(records_.begin());
  refused_.erase(seq_id);
  hold_locked(std::move(entry));
  release_locked();
  const std::optional<std::uint64_t> watch = gap_to_watch_locked();
  lock.unlock();
  watch_gap(watch);
  return admission;
}

OperationQueue::Entry OperationQueue::make_entry(Operation operation) const {
  if (operation.request_id.empty()) {
    operation.request_id = options_.futures->open(options_.session_id);
  }
  return {std::move(operation), options_.clock->now(), std::nullopt};
}

std::optional<Admission> OperationQueue::known_locked(const Operation& operation) {
  const std::int64_t seq_id = operation.seq_id;
  if (seq_id == 0) return std::nullopt;
  const auto record = records_.find(seq_id);
  if (record == records_.end()) {
    if (seq_id >= next_) return std::nullopt;
    return Admission{Admission::State::kConflict, "",
                     "seq_id " + std::to_string(seq_id) + " of model " + options_.model_id +
                         " is in the past; the next one is " + std::to_string(next_)};
  }
  if (record->second.digest == operation.digest) {
    return Admission{Admission::State::kRepeated, record->second.request_id, ""};
  }
  return Admission{Admission::State::kConflict, "",
                   "seq_id " + std::to_string(seq_id) + " of model " + options_.model_id +
                       " was already used by a different request"};
}

bool OperationQueue::full_locked(const Operation& operation) const {
  // What fills the gap is never kept out by what waits behind the gap.
  const bool in_order = operation.seq_id == 0 || operation.seq_id == next_;
  const std::size_t count = in_order ? posted_ : held_.size();
  const std::size_t bytes = in_order ? posted_bytes_ : held_bytes_;
  return count >= options_.max_operations ||
         (count > 0 && bytes + operation.bytes > options_.max_bytes);
}

void OperationQueue::hold_locked(Entry entry) {
  held_bytes_ += entry.operation.bytes;
  const std::int64_t seq_id = entry.operation.seq_id;
  held_.emplace(seq_id, std::move(entry));
}

void OperationQueue::release_locked() {
  skip_refused_locked();
  while (!held_.empty() && held_.begin()->first == next_) {
    Entry entry = std::move(held_.extract(held_.begin()).mapped());
    held_bytes_ -= entry.operation.bytes;
    ++next_;
    post_locked(std::move(entry));
    skip_refused_locked();
  }
}

void OperationQueue::skip_refused_locked() {
  while (!held_.empty() && refused_.contains(next_)) {
    const OperationKind kind = refused_.extract(next_).mapped();
    if (kind == OperationKind::kForwardBackward) {
      options_.compute->post(options_.model_id, [self = shared_from_this(), seq_id = next_] {
        Operation refused;
        refused.kind = OperationKind::kForwardBackward;
        refused.seq_id = seq_id;
        self->update_poison(refused, true);
      });
    }
    ++next_;
  }
}

void OperationQueue::post_locked(Entry entry) {
  ++posted_;
  posted_bytes_ += entry.operation.bytes;
  // Shared, because a task must be copyable.
  auto shared = std::make_shared<Entry>(std::move(entry));
  options_.compute->post(options_.model_id,
                         [self = shared_from_this(), shared] { self->execute(*shared); });
}

std::optional<std::uint64_t> OperationQueue::gap_to_watch_locked() {
  if (held_.empty()) {
    watch_ = 0;
    return std::nullopt;
  }
  if (watch_ != 0 && watched_next_ == next_) return std::nullopt;
  watch_ = ++last_watch_;
  watched_next_ = next_;
  return watch_;
}

// Outside the lock: a timer service that is shutting down calls back at once.
void OperationQueue::watch_gap(std::optional<std::uint64_t> watch) {
  if (!watch) return;
  options_.timers->schedule(options_.clock->now() + options_.gap_timeout,
                            [weak = weak_from_this(), watch = *watch] {
                              if (const auto self = weak.lock()) self->give_up_gap(watch);
                            });
}

void OperationQueue::give_up_gap(std::uint64_t watch) {
  internal::MutexLock lock(mutex_);
  if (watch != watch_ || held_.empty()) return;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.gap_timeout);
  fail_held_locked(
      Error(ErrorCode::kRequestFailed, "the operation with seq_id " + std::to_string(next_) +
                                           " never came; operations behind it were held for " +
                                           std::to_string(seconds.count()) + " s and are dropped")
          .with_category(ErrorCategory::kUser));
}

void OperationQueue::fail_held_locked(const Error& reason) {
  while (!held_.empty()) {
    Entry entry = std::move(held_.extract(held_.begin()).mapped());
    held_bytes_ -= entry.operation.bytes;
    next_ = entry.operation.seq_id + 1;
    entry.failure = reason;
    post_locked(std::move(entry));
  }
  std::erase_if(refused_, [this](const auto& refused) { return refused.first < next_; });
  watch_ = 0;
}

void OperationQueue::refuse(std::int64_t seq_id, OperationKind kind) {
  internal::MutexLock lock(mutex_);
  if (seq_id < next_ || records_.contains(seq_id)) return;
  if (refused_.size() >= options_.max_operations) return;
  refused_.emplace(seq_id, kind);
  release_locked();
  const std::optional<std::uint64_t> watch = gap_to_watch_locked();
  lock.unlock();
  watch_gap(watch);
}

Admission OperationQueue::close(Operation last, const Error& reason) {
  internal::MutexLock lock(mutex_);
  if (closed_) return {Admission::State::kClosed, "", closed_->message()};
  fail_held_locked(reason);
  closed_ = reason;
  last.seq_id = 0;
  Entry entry = make_entry(std::move(last));
  Admission admission{Admission::State::kAccepted, entry.operation.request_id, ""};
  post_locked(std::move(entry));
  return admission;
}

void OperationQueue::abandon(const Error& reason) {
  internal::MutexLock lock(mutex_);
  abandoned_ = reason;
  if (!closed_) closed_ = reason;
  fail_held_locked(reason);
}

void OperationQueue::execute(Entry& entry) {
  {
    internal::MutexLock lock(mutex_);
    if (abandoned_ && !entry.failure) entry.failure = abandoned_;
  }
  const Clock::time_point begun = options_.clock->now();
  OperationResult result = run_guarded(entry);
  update_poison(entry.operation, !result.ok());
  report(entry, result, begun);
  entry.operation.run = nullptr;  // The body is freed before its bytes are given back.
  {
    internal::MutexLock lock(mutex_);
    --posted_;
    posted_bytes_ -= entry.operation.bytes;
  }
  options_.futures->settle(entry.operation.request_id, std::move(result));
}

void OperationQueue::report(const Entry& entry, const OperationResult& result,
                            Clock::time_point begun) noexcept {
  if (!options_.on_finished) return;
  try {
    options_.on_finished(entry.operation, result, begun - entry.submitted,
                         options_.clock->now() - begun);
  } catch (...) {
    // A line of the log less; the result still has to be delivered.
  }
}

OperationResult OperationQueue::run_guarded(const Entry& entry) {
  if (entry.failure) return *entry.failure;
  const OperationKind kind = entry.operation.kind;
  const bool exempt = kind == OperationKind::kLoad || kind == OperationKind::kUnload;
  if (failed_seq_id_ && !exempt) return poisoned(*failed_seq_id_, kind);
  try {
    return entry.operation.run();
  } catch (const std::exception& failure) {
    return Error(ErrorCode::kInternal, std::string(to_string(kind)) + " failed: " + failure.what());
  } catch (...) {
    return Error(ErrorCode::kInternal, std::string(to_string(kind)) + " failed");
  }
}

void OperationQueue::update_poison(const Operation& operation, bool failed) {
  switch (operation.kind) {
    case OperationKind::kForwardBackward:
      if (!failed || failed_seq_id_) return;
      failed_seq_id_ = operation.seq_id;
      options_.discard_gradients();
      return;
    case OperationKind::kOptimStep: failed_seq_id_.reset(); return;
    case OperationKind::kLoad:
      if (!failed) failed_seq_id_.reset();
      return;
    default: return;
  }
}

}  // namespace tinkex::torch_ext::local
