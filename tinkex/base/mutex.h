#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "tinkex/base/thread_annotations.h"

namespace tinkex::internal {

/// std::mutex with the annotations that clang's thread-safety analysis needs.
class TINKEX_CAPABILITY("mutex") Mutex {
 public:
  void lock() TINKEX_ACQUIRE() {
    ++acquisitions;
    mutex_.lock();
  }
  void unlock() TINKEX_RELEASE() { mutex_.unlock(); }

  /// How often the calling thread has taken a Mutex: lets a test prove that a path takes none.
  static std::uint64_t acquisitions_of_this_thread() noexcept { return acquisitions; }

 private:
  static inline thread_local std::uint64_t acquisitions = 0;

  std::mutex mutex_;
};

/// Holds a Mutex for a scope; unlock() and lock() give it up in between, for calling out.
class TINKEX_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) TINKEX_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() TINKEX_RELEASE() {
    if (held_) mutex_.unlock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

  void unlock() TINKEX_RELEASE() {
    mutex_.unlock();
    held_ = false;
  }
  void lock() TINKEX_ACQUIRE() {
    mutex_.lock();
    held_ = true;
  }

 private:
  Mutex& mutex_;
  bool held_ = true;
};

/// Condition variable for Mutex. Wait in a loop that re-checks the condition.
class CondVar {
 public:
  void wait(Mutex& mutex) TINKEX_REQUIRES(mutex) { condition_.wait(mutex); }

  /// False if the time ran out.
  template <class Duration>
  bool wait_until(Mutex& mutex,
                  const std::chrono::time_point<std::chrono::steady_clock, Duration>& deadline)
      TINKEX_REQUIRES(mutex) {
    return condition_.wait_until(mutex, deadline) == std::cv_status::no_timeout;
  }
  void notify_one() noexcept { condition_.notify_one(); }
  void notify_all() noexcept { condition_.notify_all(); }

 private:
  std::condition_variable_any condition_;
};

}  // namespace tinkex::internal
