#pragma once

// A result that arrives later, as a class of scripts and of Python (`X_async`) and as a
// `torch.Future` (`X_future`).

#include <ATen/core/ivalue.h>
#include <ATen/core/jit_type.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>

#include "tinkex/base/process_mark.h"
#include "tinkex/future.h"
#include "torch_ext/error_bridge.h"
#include "torch_ext/ops/python_exit.h"
#include "torch_ext/ops/reaper.h"
#include "torch_ext/ops/results.h"

namespace tinkex::torch_ext {

/// The handle that an `X_async` op gives. Thread-safe. Holds no tensors: each wait() makes new
/// ones. Dropping it neither waits nor cancels.
template <class T>
class Pending final : public torch::CustomClassHolder {
 public:
  explicit Pending(Future<T> future) : future_(std::move(future)) { prepare_to_drop(); }
  ~Pending() override { drop_later(std::move(future_), process_); }

  bool done() const { return future_.ready(); }

  /// "pending", "done", "failed" or "cancelled". Only the first one ever changes.
  std::string state() const {
    if (!future_.ready()) return "pending";
    const Result<T>& result = future_.cell()->result();
    if (result) return "done";
    return result.error().code() == ErrorCode::kCancelled ? "cancelled" : "failed";
  }

  /// Blocks until the result is there; throws the error that took its place. Throws kWouldDeadlock
  /// on a thread that must produce it, such as that of a callback of a Future.
  typename Script<T>::type wait() {
    refuse_in_child();
    refuse_deadlock();
    const Result<T>& result = get();
    if (!result) throw_error(result.error());
    return Script<T>::from(*result);
  }

  /// Waits at most so many seconds; whether the result is there. Throws where wait() would, unless
  /// `seconds` is 0: the false of one that cannot wait would be asked again at once, for ever.
  bool wait_for(double seconds) const {
    refuse_in_child();
    constexpr double kLongest = 1e9;  // about 30 years: what a steady_clock can add
    if (std::isnan(seconds)) {
      throw_error(
          invalid_argument("seconds is NaN, expected how long to wait; 0 does not wait, and "
                           "wait() waits without end"));
    }
    seconds = seconds > 0 ? std::min(seconds, kLongest) : 0;
    if (seconds > 0) refuse_deadlock();
    const WaitPass pass;
    return future_.wait_for(std::chrono::duration<double>(seconds));
  }

  /// Gives the result up: wait() then throws kCancelled. What the server accepted may take effect.
  void cancel() { future_.cancel(); }

 private:
  const Result<T>& get() {
    const WaitPass pass;
    return future_.get();
  }

  /// In a child of fork nobody would ever settle what is pending.
  void refuse_in_child() const {
    if (future_.ready() || !process_.in_forked_child()) return;
    throw_error(Error(ErrorCode::kClosed,
                      "this handle was made before fork(), and its result arrives in the parent "
                      "process; wait for it there"));
  }

  /// Before any wait: the Future would keep its answer in itself, and others share this one.
  void refuse_deadlock() const {
    if (future_.ready() || !future_.would_deadlock()) return;
    throw_error(internal::deadlock_error().with_context(
        "the call is under way, but cannot be waited for here"));
  }

  Future<T> future_;
  const internal::ProcessMark process_;
};

using IValueFuture = c10::intrusive_ptr<c10::ivalue::Future>;

/// The result as scripts hold it, and its type.
template <class T>
c10::IValue to_ivalue(const T& result) {
  if constexpr (std::is_void_v<typename Script<T>::type>) {
    return {};
  } else {
    return Script<T>::from(result);
  }
}
template <class T>
c10::TypePtr script_type() {
  if constexpr (std::is_void_v<typename Script<T>::type>) {
    return c10::NoneType::get();
  } else {
    return c10::getTypePtrCopy<typename Script<T>::type>();
  }
}

/// Settles `target` with the result or the error, unless Python is exiting. Never throws. Call it
/// without a lock: it may run callbacks of Python, which take the interpreter's lock.
template <class T>
void settle(IValueFuture target, const Result<T>& result) noexcept {
  const SettlePass pass;
  if (!pass) {
    (void)target.release();  // its end would take the lock, too
    return;
  }
  try {
    if (result) {
      target->markCompleted(to_ivalue<T>(*result));
    } else {
      target->setErrorIfNeeded(to_exception(result.error()));
    }
  } catch (...) {
    target->setErrorIfNeeded(std::current_exception());
  }
  target.reset();  // while the pass is held
}

/// A LibTorch future that the executor settles; its callbacks run there.
template <class T>
IValueFuture to_ivalue_future(Future<T> future) {
  auto target = c10::make_intrusive<c10::ivalue::Future>(script_type<T>());
  (void)std::move(future).then([held = IValueFuture(target)](Result<T> result) mutable {
    settle<T>(std::move(held), result);
  });
  return target;
}

/// Called by library.cc, in the order that it states.
void register_pending_classes(torch::Library& library);
void register_pending_sampling_client_class(torch::Library& library);
void register_pending_service_class(torch::Library& library);
void register_pending_training_client_class(torch::Library& library);

}  // namespace tinkex::torch_ext
