#pragma once

#include <functional>
#include <utility>

namespace tinkex::internal {

/// Bounds how deep calls nest that lead from one result to the next, so that a chain of any length
/// fits a thread's stack. The first hundred nest; those below wait until the outermost one of this
/// thread is about to return, and run then, in order.
class CallDepth {
 public:
  /// Runs `call`, which must not throw, now or, when the calls of this thread are deep already,
  /// before the outermost of them returns. It then has to own what it uses.
  template <class Call>
  static void run(Call call) {
    if (depth_ >= kMost) return defer(std::move(call));
    ++depth_;
    call();
    if (depth_ == 1 && deferred_) run_deferred();
    --depth_;
  }

 private:
  static constexpr int kMost = 100;

  static void defer(std::function<void()> call);
  static void run_deferred();

  static inline thread_local int depth_ = 0;
  static inline thread_local bool deferred_ = false;
};

}  // namespace tinkex::internal
