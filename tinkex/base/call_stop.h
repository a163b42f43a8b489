#pragma once

#include <chrono>
#include <functional>
#include <memory>

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
  /// What can be stopped: it begins and ends on the thread of the call.
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
  /// the caller's data is never sent. Returns when the Part that runs has ended, which reads that
  /// data, or when `patience` is over. A call reads it before its Part as well, to convert it, and
  /// after `patience`; that is not waited for, since nothing comes of it.
  void stop(std::chrono::steady_clock::duration patience) TINKEX_EXCLUDES(mutex_);

 private:
  /// Whether it was stopped already.
  bool begin(const std::function<void()>& hook) TINKEX_EXCLUDES(mutex_);
  void end() TINKEX_EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  std::function<void()> hook_ TINKEX_GUARDED_BY(mutex_);
  bool running_ TINKEX_GUARDED_BY(mutex_) = false;
  bool stopped_ TINKEX_GUARDED_BY(mutex_) = false;
};

}  // namespace tinkex::internal
