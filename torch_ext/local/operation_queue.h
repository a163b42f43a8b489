#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/async/timer_service.h"
#include "tinkex/base/mutex.h"
#include "tinkex/clock.h"
#include "torch_ext/local/body_digest.h"
#include "torch_ext/local/compute_thread.h"
#include "torch_ext/local/future_store.h"

namespace tinkex::torch_ext::local {

enum class OperationKind { kCreate, kForward, kForwardBackward, kOptimStep, kSave, kLoad, kUnload };
/// Name of the endpoint, for logs and errors.
std::string_view to_string(OperationKind kind) noexcept;

/// One request to a model.
struct Operation {
  OperationKind kind = OperationKind::kForward;
  /// Place in the model's order, from 1; 0 (older clients send none) means order of arrival.
  std::int64_t seq_id = 0;
  BodyDigest digest;
  std::size_t bytes = 0;
  /// The future to settle; empty opens a new one.
  std::string request_id;
  /// Runs on the compute thread.
  std::function<OperationResult()> run;
};

/// What became of a submission.
struct Admission {
  enum class State {
    kAccepted,
    kRepeated,  ///< The same request again: the first one's id, and nothing runs twice.
    kConflict,  ///< Another request had this seq_id.
    kFull,
    kClosed,
  };
  State state = State::kAccepted;
  std::string request_id;  ///< When accepted or repeated.
  std::string text;        ///< Otherwise, why not.
};

/// Runs the operations of one model in the order of their seq_ids, one by one, each at most once.
///
/// A gap holds later operations back until the missing one comes, or until a time has passed; then
/// what was held fails and the order goes on behind it. An operation that fails has used its place.
/// After a failed forward_backward the accumulated gradients are part of a batch only, so they are
/// dropped and everything up to and including the next optim_step fails; load_weights, which
/// discards them anyway, ends that state too. Thread-safe.
class OperationQueue : public std::enable_shared_from_this<OperationQueue> {
 public:
  struct Options {
    std::string model_id;
    std::string session_id;
    std::shared_ptr<FutureStore> futures;
    std::shared_ptr<ComputeThread> compute;
    std::shared_ptr<internal::TimerService> timers;
    std::shared_ptr<Clock> clock;
    std::chrono::milliseconds gap_timeout;
    std::size_t max_operations;
    std::size_t max_bytes;
    /// Drops gradients that no optim_step applied. Runs on the compute thread.
    std::function<void()> discard_gradients;
    /// Told about every operation that ended, on the compute thread. May be empty. What it throws
    /// is dropped.
    std::function<void(const Operation&, const OperationResult&, Clock::duration queued,
                       Clock::duration ran)>
        on_finished;
  };

  explicit OperationQueue(Options options);

  Admission submit(Operation operation);
  /// The request of that seq_id was malformed and got an error reply. Its place stays open for a
  /// corrected one, but later operations do not wait for it.
  void refuse(std::int64_t seq_id, OperationKind kind);
  /// Admits `last` after everything that is in order; what waits behind a gap fails with `reason`,
  /// and nothing is admitted later.
  Admission close(Operation last, const Error& reason);
  /// Fails everything that has not begun with `reason`.
  void abandon(const Error& reason);

 private:
  struct Entry {
    Operation operation;
    Clock::time_point submitted;
    std::optional<Error> failure;  ///< Set: fails with this instead of running.
  };
  struct Record {
    BodyDigest digest;
    std::string request_id;
  };

  Entry make_entry(Operation operation) const;
  std::optional<Admission> known_locked(const Operation& operation) TINKEX_REQUIRES(mutex_);
  bool full_locked(const Operation& operation) const TINKEX_REQUIRES(mutex_);
  void hold_locked(Entry entry) TINKEX_REQUIRES(mutex_);
  void release_locked() TINKEX_REQUIRES(mutex_);
  void skip_refused_locked() TINKEX_REQUIRES(mutex_);
  void post_locked(Entry entry) TINKEX_REQUIRES(mutex_);
  void fail_held_locked(const Error& reason) TINKEX_REQUIRES(mutex_);
  /// A gap that has no timer yet, if there is one.
  std::optional<std::uint64_t> gap_to_watch_locked() TINKEX_REQUIRES(mutex_);
  void watch_gap(std::optional<std::uint64_t> watch);
  void give_up_gap(std::uint64_t watch);

  void execute(Entry& entry);
  void report(const Entry& entry, const OperationResult& result, Clock::time_point begun) noexcept;
  OperationResult run_guarded(const Entry& entry);
  void update_poison(const Operation& operation, bool failed);

  const Options options_;
  internal::Mutex mutex_;
  std::int64_t next_ TINKEX_GUARDED_BY(mutex_) = 1;
  std::map<std::int64_t, Entry> held_ TINKEX_GUARDED_BY(mutex_);
  std::size_t held_bytes_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::size_t posted_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::size_t posted_bytes_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::map<std::int64_t, Record> records_ TINKEX_GUARDED_BY(mutex_);
  std::map<std::int64_t, OperationKind> refused_ TINKEX_GUARDED_BY(mutex_);
  /// Number of the gap timer that counts; others are stale. 0: no gap.
  std::uint64_t watch_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_watch_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::int64_t watched_next_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::optional<Error> closed_ TINKEX_GUARDED_BY(mutex_);
  std::optional<Error> abandoned_ TINKEX_GUARDED_BY(mutex_);

  /// The forward_backward that failed since the last optim_step. Compute thread only.
  std::optional<std::int64_t> failed_seq_id_;
};

}  // namespace tinkex::torch_ext::local
