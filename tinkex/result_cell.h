#pragma once

// What a Promise and a Future share.
//
// Races. All state of a result is under one mutex. The first of `set` and `end` wins. Whoever
// settles the cell moves the waiters out before it releases the lock; they run afterwards, so no
// user code runs under the lock, and a continuation attached concurrently either is among the moved
// ones or finds the result. Between `end`, which bars every other result, and the settling the
// producer is told; it finds no result yet and `set` refused. Where one result settles the next,
// and so on, the calls nest; CallDepth keeps a long chain of them from filling the stack.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/base/call_depth.h"
#include "tinkex/base/mutex.h"
#include "tinkex/error.h"
#include "tinkex/executor.h"

namespace tinkex::internal {

/// The state that a Promise and a Future share; owned by shared pointers. Set once; never throws at
/// the setter.
template <class T>
class ResultCell : public std::enable_shared_from_this<ResultCell<T>> {
 public:
  using Waiter = std::function<void(ResultCell&)>;

  /// `on_cancel` is what cancel() tells the producer, until it is replaced.
  explicit ResultCell(std::shared_ptr<Executor> executor, std::function<void()> on_cancel = nullptr)
      : executor_(std::move(executor)), on_cancel_(std::move(on_cancel)) {}

  /// Settles the cell; false if it was settled or ended before.
  bool set(Result<T> result) noexcept TINKEX_EXCLUDES(mutex_) {
    std::vector<Waiter> waiters;
    std::function<void()> cancel_hook;  // destroyed outside the lock: it may hold the last owner
    {
      MutexLock lock(mutex_);
      if (result_ || ended_) return false;
      settle(std::move(result), waiters);
      cancel_hook.swap(on_cancel_);
    }
    if (waiters.empty()) return true;
    CallDepth::run([self = this->shared_from_this(), waiters = std::move(waiters)] {
      for (const Waiter& waiter : waiters) waiter(*self);
    });
    return true;
  }

  bool ready() const TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return result_.has_value();
  }

  void wait() const TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!result_) condition_.wait(mutex_);
  }

  bool wait_until(std::chrono::steady_clock::time_point deadline) const TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    while (!result_) {
      if (!condition_.wait_until(mutex_, deadline)) return result_.has_value();
    }
    return true;
  }

  /// The result, once ready() is true. It no longer changes, so no lock is needed to read it.
  Result<T>& result() noexcept TINKEX_NO_THREAD_SAFETY_ANALYSIS { return *result_; }

  /// Calls `waiter` when the cell is settled, here and now if it is. `waiter` must not throw.
  void on_ready(Waiter waiter) TINKEX_EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      if (!result_) {
        waiters_.push_back(std::move(waiter));
        return;
      }
    }
    waiter(*this);
  }

  /// Replaces what cancel() tells the producer. False, with nothing changed, once the cell is
  /// settled or about to be: it may have been cancelled, and the producer had better stop.
  bool on_cancel(std::function<void()> hook) TINKEX_EXCLUDES(mutex_) {
    {
      MutexLock lock(mutex_);
      if (result_ || ended_) return false;
      on_cancel_.swap(hook);
    }
    return true;  // the hook before is destroyed here, outside the lock
  }

  void cancel() noexcept { end(Error(ErrorCode::kCancelled, "the caller cancelled this result")); }

  /// Tells the producer to stop, and then settles the cell with `error`; nothing if it is settled.
  void end(Error error) noexcept {
    end_with([error = std::move(error)] { return error; });
  }

  /// The same with the error that `make_error` gives when the producer has been told. Who waits for
  /// the cell goes on after that, so that nothing follows which the producer would have begun.
  template <class MakeError>
  void end_with(MakeError make_error) noexcept TINKEX_EXCLUDES(mutex_) {
    std::function<void()> hook;
    {
      // From here on no result is taken, and no hook.
      MutexLock lock(mutex_);
      if (result_ || ended_) return;
      ended_ = true;
      hook.swap(on_cancel_);
    }
    CallDepth::run([self = this->shared_from_this(), hook = std::move(hook),
                    make_error = std::move(make_error)] {
      if (hook) hook();
      CallDepth::run_behind([self, make_error] { self->finish(error_of(make_error)); });
    });
  }

  /// Whether somebody else than the producer gave it up.
  bool was_ended() const TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return ended_;
  }

  /// Whether a result would come too late: it is there, or the cell was ended and settles soon.
  bool is_over() const TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return result_ || ended_;
  }

  /// Lets continuations run there, unless it has an executor. Only while nobody else knows the
  /// cell.
  void adopt_executor(const std::shared_ptr<Executor>& executor) {
    if (!executor_) executor_ = executor;
  }

  Executor* executor() const noexcept { return executor_.get(); }
  const std::shared_ptr<Executor>& shared_executor() const noexcept { return executor_; }

 private:
  void settle(Result<T> result, std::vector<Waiter>& waiters) noexcept TINKEX_REQUIRES(mutex_) {
    result_.emplace(std::move(result));
    waiters.swap(waiters_);
    condition_.notify_all();
  }

  void finish(Error error) noexcept TINKEX_EXCLUDES(mutex_) {
    std::vector<Waiter> waiters;
    {
      MutexLock lock(mutex_);
      settle(std::move(error), waiters);
    }
    for (const Waiter& waiter : waiters) waiter(*this);
  }

  template <class MakeError>
  static Error error_of(const MakeError& make_error) noexcept {
    try {
      return make_error();
    } catch (...) {
      return error_from_current_exception();
    }
  }

  std::shared_ptr<Executor> executor_;  // may be null: continuations run in the setter

  mutable Mutex mutex_;
  mutable CondVar condition_;
  std::optional<Result<T>> result_ TINKEX_GUARDED_BY(mutex_);
  bool ended_ TINKEX_GUARDED_BY(mutex_) = false;
  std::vector<Waiter> waiters_ TINKEX_GUARDED_BY(mutex_);
  std::function<void()> on_cancel_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::internal
