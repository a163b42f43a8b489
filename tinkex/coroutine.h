#pragma once

// Futures in coroutines.
//
// ```
// tinkex::Future<double> step(tinkex::TrainingClient client, std::vector<tinkex::Datum> data) {
//   auto pass = co_await client.forward_backward(data, tinkex::loss::kCrossEntropy);
//   if (!pass) co_return pass.error();
//   co_return pass->metrics.at("loss:sum");
// }
// ```
//
// A coroutine that returns a Future begins at once, on the caller's thread. `co_await` of a future
// gives its Result; where the result was not there yet, the coroutine goes on where a continuation
// given to `then` would run: on the executor of the awaited future. What `co_return` gives, a T or
// an Error, settles the coroutine's own future; an exception that leaves it becomes kInternal, or
// the Error that was thrown. Cancelling that future cancels what the coroutine awaits at the
// moment; the coroutine then sees kCancelled there, and ends as it likes. Continuations of the
// coroutine's future run on the executor of the first future for which it had to wait.
//
// Parameters of a coroutine are copied into it only if they are taken by value: a reference or a
// span must outlive it.
//
// Races. A suspended coroutine is resumed by exactly one waiter of one cell. The hook that cancels
// is set before the coroutine is suspended; after a cancel that comes earlier the next await finds
// the coroutine's own cell over, and cancels at once what is then awaited.

#include <coroutine>
#include <memory>
#include <optional>
#include <utility>

#include "tinkex/future.h"

namespace tinkex {
namespace internal {

template <class T>
class FutureAwaiter {
 public:
  explicit FutureAwaiter(Future<T> future) : cell_(future.cell()) {}

  bool await_ready() const { return cell_->ready(); }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> coroutine) {
    if constexpr (requires { coroutine.promise().before_await(cell_); }) {
      coroutine.promise().before_await(cell_);
    }
    // The awaiter lives in the coroutine, which may be gone once the waiter is attached.
    const std::shared_ptr<ResultCell<T>> cell = cell_;
    cell->on_ready([coroutine](ResultCell<T>& settled) {
      run_on(settled.executor(), [coroutine] { coroutine.resume(); });
    });
  }
  Result<T> await_resume() { return std::move(cell_->result()); }

 private:
  const std::shared_ptr<ResultCell<T>> cell_;
};

/// What makes a coroutine that returns a Future<T>.
template <class T>
class FuturePromise {
 public:
  Future<T> get_return_object() const { return Future<T>(cell_); }
  std::suspend_never initial_suspend() const noexcept { return {}; }
  /// Settles the future when the coroutine and everything in it is gone: whoever waits for it may
  /// then destroy what the coroutine referred to.
  auto final_suspend() const noexcept {
    struct Settle {
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<FuturePromise> coroutine) const noexcept {
        const auto cell = coroutine.promise().cell_;
        std::optional<Result<T>> result = std::move(coroutine.promise().result_);
        coroutine.destroy();
        cell->set(*std::move(result));
      }
      void await_resume() const noexcept {}
    };
    return Settle{};
  }
  void return_value(Result<T> result) noexcept { result_.emplace(std::move(result)); }
  void unhandled_exception() noexcept {
    result_.emplace(error_from_current_exception("a coroutine"));
  }

  /// Lets cancelling the coroutine's future cancel what it waits for now.
  template <class U>
  void before_await(const std::shared_ptr<ResultCell<U>>& awaited) {
    // Before the first suspension the caller has no future of this cell yet.
    if (!suspended_) cell_->adopt_executor(awaited->shared_executor());
    suspended_ = true;
    const bool pending = cell_->on_cancel([weak = std::weak_ptr<ResultCell<U>>(awaited)] {
      if (auto waiting = weak.lock()) waiting->cancel();
    });
    if (!pending) awaited->cancel();
  }

 private:
  const std::shared_ptr<ResultCell<T>> cell_ = std::make_shared<ResultCell<T>>(nullptr);
  std::optional<Result<T>> result_;
  bool suspended_ = false;
};

}  // namespace internal

/// Waits for a result inside a coroutine.
template <class T>
internal::FutureAwaiter<T> operator co_await(Future<T>&& future) {
  return internal::FutureAwaiter<T>(std::move(future));
}

}  // namespace tinkex

/// Lets a function that returns a Future be a coroutine.
template <class T, class... Arguments>
struct std::coroutine_traits<tinkex::Future<T>, Arguments...> {
  using promise_type = tinkex::internal::FuturePromise<T>;
};
