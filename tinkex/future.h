#pragma once

// Results that arrive later.
//
// Threads. A Promise is settled from the executor (or from any thread); `get` and `wait_for` may be
// called from any thread except one that must produce the result (a worker of the executor; a
// thread on which a long chain of futures is being settled), where `would_deadlock` is true: there
// `get` answers kWouldDeadlock instead of hanging, and `wait_for` returns at once. A continuation
// given to `then` runs on the executor of the future, never on the I/O thread until shutdown; after
// it, on whichever thread settles the future.
//
// A Promise that is destroyed unsettled settles its future with kCancelled ("abandoned"), so a
// Future cannot wait for ever on a producer that is gone. result_cell.h argues the races.

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "tinkex/clock.h"
#include "tinkex/error.h"
#include "tinkex/executor.h"
#include "tinkex/result_cell.h"

namespace tinkex {

template <class T>
class Future;

namespace internal {

template <class T>
struct UnwrapResult {
  using type = T;
  static constexpr bool is_future = false;
};
template <class T>
struct UnwrapResult<Result<T>> : UnwrapResult<T> {};
template <class T>
struct UnwrapResult<Future<T>> {
  using type = T;
  static constexpr bool is_future = true;
};
template <>
struct UnwrapResult<void> : UnwrapResult<Unit> {};

/// The answer where waiting would never end.
inline Error deadlock_error() {
  return Error(ErrorCode::kWouldDeadlock,
               "waiting on an executor thread, or inside a call that settles a long chain of "
               "futures, would wait for itself; use then(), or wait on a thread of your own");
}

/// invoke_named() for what needs no name.
template <class U, class Fn, class... Args>
Result<U> invoke_guarded(Fn& fn, Args&&... args) noexcept {
  return invoke_named<U>("", fn, std::forward<Args>(args)...);
}

/// Calls fn, which settles `cell` now or later; whatever it throws settles it too (C1, T8).
template <class T, class Fn>
void settle_guarded(ResultCell<T>& cell, Fn&& fn) noexcept {
  try {
    fn();
  } catch (...) {
    cell.set(error_from_current_exception());
  }
}

/// Settles `target` with what `source` settles, and cancels `source` when `target` is cancelled.
template <class T>
void pass_on(const std::shared_ptr<ResultCell<T>>& source,
             const std::shared_ptr<ResultCell<T>>& target) {
  const bool pending = target->on_cancel([weak = std::weak_ptr<ResultCell<T>>(source)] {
    if (auto waiting = weak.lock()) waiting->cancel();
  });
  if (!pending) return source->cancel();
  source->on_ready([target](ResultCell<T>& settled) { target->set(std::move(settled.result())); });
}

}  // namespace internal

template <class T>
class Promise;

/// The receiving end of a result that arrives later. Move-only. Dropping it neither cancels the
/// operation nor blocks; a Future always settles.
template <class T>
class [[nodiscard]] Future {
 public:
  using value_type = T;
  using Cell = internal::ResultCell<T>;

  explicit Future(std::shared_ptr<Cell> cell) : cell_(std::move(cell)) {}
  Future(Future&&) noexcept = default;
  Future& operator=(Future&&) noexcept = default;

  /// A future that is settled from the start.
  static Future ready_with(Result<T> result, std::shared_ptr<Executor> executor = nullptr) {
    auto cell = std::make_shared<Cell>(std::move(executor));
    cell->set(std::move(result));
    return Future(std::move(cell));
  }

  bool ready() const { return cell_->ready(); }

  /// Whether this thread must not wait: it is one that must produce the result. get() answers
  /// kWouldDeadlock here, and wait_for() does not wait, unless the result is there already.
  bool would_deadlock() const noexcept {
    if (internal::CallDepth::any_waiting()) return true;
    return cell_->executor() != nullptr && cell_->executor()->is_worker_thread();
  }

  /// Waits for the result; the reference lives as long as this Future. Where would_deadlock() is
  /// true the answer is kept in this Future: two threads must not call it there at once.
  const Result<T>& get() & {
    if (!cell_->ready() && would_deadlock()) {
      deadlock_.emplace(internal::deadlock_error());
      return *deadlock_;
    }
    cell_->wait();
    return cell_->result();
  }

  /// Waits and moves the result out.
  Result<T> get() && {
    const Result<T>& result = this->get();
    return deadlock_ ? result : Result<T>(std::move(cell_->result()));
  }

  /// Waits at most `timeout` of real time, and not at all where would_deadlock() is true: a loop
  /// around it asks that first. True if the result is there.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> timeout) const {
    if (would_deadlock()) return cell_->ready();
    return cell_->wait_until(deadline_after(std::chrono::steady_clock::now(), timeout));
  }

  /// Calls `fn(Result<T>)` on the executor once the result is there and gives a future of what it
  /// returns: a U, a Result<U>, a Future<U>, or nothing. An exception from `fn` becomes kInternal.
  /// Consumes this future; cancelling the new one cancels this operation.
  template <class Fn>
  auto then(Fn fn) && {
    using Returned = std::invoke_result_t<Fn&, Result<T>>;
    using U = typename internal::UnwrapResult<Returned>::type;
    auto next = std::make_shared<internal::ResultCell<U>>(cell_->shared_executor());
    next->on_cancel([cell = std::weak_ptr<Cell>(cell_)] {
      if (auto locked = cell.lock()) locked->cancel();
    });
    // The task keeps `this` cell alive: the waiter runs inside it, the task perhaps after it.
    auto task = [next, fn = std::make_shared<Fn>(std::move(fn)), cell = cell_]() {
      constexpr std::string_view kName = "a function given to then()";
      if constexpr (internal::UnwrapResult<Returned>::is_future) {
        auto inner = internal::invoke_named<Returned>(kName, *fn, std::move(cell->result()));
        if (!inner.ok()) {
          next->set(std::move(inner).error());
        } else {
          internal::pass_on(inner->cell(), next);
        }
      } else {
        next->set(internal::invoke_named<U>(kName, *fn, std::move(cell->result())));
      }
    };
    auto cell = std::move(cell_);
    cell->on_ready([task = std::move(task)](Cell& settled) { run_on(settled.executor(), task); });
    return Future<U>(std::move(next));
  }

  /// Settles this future with kCancelled, unless it is settled, and stops waiting for the server.
  /// What the server already accepted may still take effect.
  void cancel() noexcept { cell_->cancel(); }

  const std::shared_ptr<Cell>& cell() const noexcept { return cell_; }

 private:
  std::shared_ptr<Cell> cell_;
  std::optional<Result<T>> deadlock_;
};

/// The producing end. Settling twice is harmless: the first result stays.
template <class T>
class Promise {
 public:
  explicit Promise(std::shared_ptr<Executor> executor = nullptr)
      : cell_(std::make_shared<internal::ResultCell<T>>(std::move(executor))) {}
  Promise(Promise&&) noexcept = default;
  Promise& operator=(Promise&& other) noexcept {
    abandon();
    cell_ = std::move(other.cell_);
    return *this;
  }
  ~Promise() { abandon(); }

  Future<T> future() const { return Future<T>(cell_); }
  bool set(Result<T> result) noexcept { return cell_->set(std::move(result)); }
  void on_cancel(std::function<void()> hook) { cell_->on_cancel(std::move(hook)); }
  bool settled() const { return cell_->ready(); }
  const std::shared_ptr<internal::ResultCell<T>>& cell() const noexcept { return cell_; }

 private:
  void abandon() noexcept {
    if (cell_) cell_->set(Error(ErrorCode::kCancelled, "the operation was abandoned unfinished"));
  }

  std::shared_ptr<internal::ResultCell<T>> cell_;
};

/// When `when_all` gives up.
enum class OnFailure {
  kWaitForAll,   ///< Settles after the last one; the error is that of the lowest index.
  kStopAtFirst,  ///< Settles with the first error and cancels the others.
};

namespace internal {
template <class T>
struct WhenAllState {
  explicit WhenAllState(std::size_t count) : cells(count), remaining(count) {}
  std::vector<std::shared_ptr<ResultCell<T>>> cells;
  std::atomic<std::size_t> remaining;
};
}  // namespace internal

/// All results in order, or an error.
template <class T>
Future<std::vector<T>> when_all(std::vector<Future<T>> futures,
                                OnFailure on_failure = OnFailure::kWaitForAll,
                                std::shared_ptr<Executor> executor = nullptr) {
  using State = internal::WhenAllState<T>;
  using All = internal::ResultCell<std::vector<T>>;
  if (!executor && !futures.empty()) executor = futures.front().cell()->shared_executor();
  auto all = std::make_shared<All>(std::move(executor));
  if (futures.empty()) all->set(std::vector<T>{});
  auto state = std::make_shared<State>(futures.size());
  for (std::size_t i = 0; i < futures.size(); ++i) state->cells[i] = futures[i].cell();
  const auto cancel_rest = [state] {
    for (auto& cell : state->cells) cell->cancel();
  };
  all->on_cancel(cancel_rest);
  for (auto& part : state->cells) {
    // `all` holds the hook that holds `state`, so the waiters may own `all`; settling it breaks the
    // circle because set() destroys the hook.
    part->on_ready([all, state, cancel_rest, on_failure](internal::ResultCell<T>& settled) {
      if (on_failure == OnFailure::kStopAtFirst && !settled.result().ok()) {
        if (all->set(settled.result().error())) cancel_rest();
      }
      if (state->remaining.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
      std::vector<T> values;
      values.reserve(state->cells.size());
      for (auto& cell : state->cells) {
        if (!cell->result().ok()) {
          all->set(cell->result().error());
          return;
        }
        values.push_back(std::move(*cell->result()));
      }
      all->set(std::move(values));
    });
  }
  return Future<std::vector<T>>(std::move(all));
}

}  // namespace tinkex
