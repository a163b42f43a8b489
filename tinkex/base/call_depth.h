#pragma once

#include <functional>

namespace tinkex::internal {

/// Bounds how deep calls nest that lead from one result to the next, so that a chain of any length
/// fits a thread's stack. The first hundred nest; those below wait until the outermost one of this
/// thread is about to return, and run then, in the order in which they would have nested.
///
/// A call that waits has to own what it uses, and must not throw. Where there is no memory to let
/// one wait, it nests.
class CallDepth {
 public:
  /// Runs `call` now or, when the calls of this thread are deep already, before the outermost of
  /// them returns.
  template <class Call>
  static void run(const Call& call) {
    if (depth_ >= kMost && defer(call)) return;
    ++depth_;
    call();
    if (depth_ == 1 && waiting_) run_waiting();
    --depth_;
  }

  /// From a call that runs: runs `call` when all that it led to has run.
  template <class Call>
  static void run_behind(const Call& call) {
    if (!newly_waiting() || !defer(call)) call();
  }

  /// Whether this thread has calls that wait for it. It then must not wait for what they bring.
  static bool any_waiting() noexcept { return waiting_; }

 private:
  static constexpr int kMost = 100;

  static bool defer(std::function<void()> call) noexcept;
  /// Whether something was deferred by the call that runs outermost now.
  static bool newly_waiting() noexcept;
  static void run_waiting();

  static inline thread_local int depth_ = 0;
  static inline thread_local bool waiting_ = false;
};

}  // namespace tinkex::internal
