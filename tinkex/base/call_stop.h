#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "tinkex/base/mutex.h"

namespace tinkex::internal {

/// Lets a thread stop a call that another one is making, while it still reads the caller's data: it
/// has given no future yet that could be cancelled. A thread that waits for such a call on behalf
/// of another one announces a CallStop; the call finds it there.
///
/// Races. All state is under the mutex; the hook runs without it, and may run while its Part ends,
/// so it owns what it uses. Thread-safe.
class CallStop {
 public:
  /// What can be stopped: it begins and ends on the thread of the call. Parts may nest.
  class Part {
   public:
    /// `hook` runs once, on the thread that stops the call, or here if it was stopped before.
    /// Nothing happens on a thread that has announced nothing.
    explicit Part(std::function<void()> hook);
    ~Part();
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

   private:
    const std::shared_ptr<CallStop> stop_;
  };

  /// Calls that this thread makes from now on can be stopped by `stop`; by nobody if it is null.
  static void announce(std::shared_ptr<CallStop> stop);

  /// Stops the call that the thread makes, and those that follow: what they have not sent yet of
  /// the caller's data is never sent. Returns when the Parts that run, which read that data, have
  /// ended, or when `patience` is over. So the thread may still read it afterwards: in a Part that
  /// takes longer, or ahead of the next one, to convert it. What it reads then is not sent.
  void stop(std::chrono::steady_clock::duration patience) TINKEX_EXCLUDES(mutex_);

 private:
  /// Whether it was stopped already.
  bool begin(const std::function<void()>& hook) TINKEX_EXCLUDES(mutex_);
  void end() TINKEX_EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  /// Of the Parts that run, the innermost last; empty once it is stopped.
  std::vector<std::function<void()>> hooks_ TINKEX_GUARDED_BY(mutex_);
  int running_ TINKEX_GUARDED_BY(mutex_) = 0;
  bool stopped_ TINKEX_GUARDED_BY(mutex_) = false;
};

}  // namespace tinkex::internal
