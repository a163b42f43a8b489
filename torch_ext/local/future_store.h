#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tinkex/async/timer_service.h"
#include "tinkex/base/mutex.h"
#include "tinkex/clock.h"
#include "torch_ext/local/operation_result.h"

namespace tinkex::torch_ext::local {

/// Results by request id, and the long polls that wait for them. A waiting poll holds no thread: it
/// is a callback beside its future, woken by the result or by a timer. Thread-safe; callbacks run
/// without a lock.
class FutureStore : public std::enable_shared_from_this<FutureStore> {
 public:
  struct Options {
    std::shared_ptr<Clock> clock;
    std::shared_ptr<internal::TimerService> timers;
    std::chrono::milliseconds poll_hold;
    std::size_t max_result_bytes;
  };
  enum class PollState {
    kReady,
    kPending,  ///< Not yet; ask again.
    kExpired,  ///< Was here; its session ended or newer results took its place.
    kUnknown,
  };
  /// The result is not null exactly when ready. What it throws keeps no other waiter from its
  /// answer; it reports its own failures.
  using Waiter = std::function<void(PollState, std::shared_ptr<const OperationResult>)>;

  static std::shared_ptr<FutureStore> create(Options options);

  /// A new pending future of a session; its id is unique, also against other processes' ids.
  std::string open(std::string session_id);
  /// Gives the result to everyone who waits. Only the first counts.
  void settle(const std::string& id, OperationResult result);
  /// Nobody waits for its result any more: who computes it may stop, and settles it then.
  void give_up(const std::string& id);
  /// Whether that was said, for whoever computes the result. Null if the future is gone.
  std::shared_ptr<const std::atomic<bool>> given_up(const std::string& id) const;
  /// Answers now, or when the result comes, or after poll_hold: exactly once.
  void poll(const std::string& id, Waiter waiter);
  /// Forgets a session's futures; those that wait get `reason`.
  void close_session(const std::string& session_id, const Error& reason);
  /// Fails everything pending with `reason`, and everything opened later.
  void close(const Error& reason);

 private:
  using Result = std::shared_ptr<const OperationResult>;
  struct Poll {
    internal::TimerService::TimerId timer = 0;
    Waiter waiter;
  };
  struct Entry {
    std::string session_id;
    Result result;
    std::size_t bytes = 0;
    std::unordered_map<std::uint64_t, Poll> polls;
    std::shared_ptr<std::atomic<bool>> given_up = std::make_shared<std::atomic<bool>>(false);
  };
  using Polls = std::unordered_map<std::uint64_t, Poll>;

  explicit FutureStore(Options options);

  PollState missing_state(std::string_view id) const TINKEX_REQUIRES(mutex_);
  Polls settle_locked(const std::string& id, Entry& entry, Result result) TINKEX_REQUIRES(mutex_);
  void evict_locked(std::vector<Entry>& evicted) TINKEX_REQUIRES(mutex_);
  void expire(const std::string& id, std::uint64_t poll);
  void deliver(Polls polls, const Result& result);

  const Options options_;
  const std::string prefix_;
  mutable internal::Mutex mutex_;
  std::uint64_t opened_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_poll_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::unordered_map<std::string, Entry> entries_ TINKEX_GUARDED_BY(mutex_);
  /// Settled futures, oldest first.
  std::deque<std::string> settled_ TINKEX_GUARDED_BY(mutex_);
  std::size_t result_bytes_ TINKEX_GUARDED_BY(mutex_) = 0;
  Result closed_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::torch_ext::local
