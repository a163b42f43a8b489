#pragma once

#include <cstddef>
#include <cstdint>

#include "tinkex/base/mutex.h"
#include "tinkex/error.h"

namespace tinkex::internal {

/// Bounds the bytes that wait to be sent by making producers wait. Thread-safe; waiters are served
/// in the order in which they came.
class ByteBudget {
 public:
  explicit ByteBudget(std::size_t limit) : limit_(limit) {}

  /// Takes `bytes`, waiting until they fit. When nothing is in use any amount fits, so that one
  /// body above the limit still gets through. Fails with kClosed once close() was called.
  Status acquire(std::size_t bytes) TINKEX_EXCLUDES(mutex_);

  /// Takes them at once, limit or not: for threads that must never wait. Fails with kClosed.
  Status force_acquire(std::size_t bytes) TINKEX_EXCLUDES(mutex_);

  /// Gives back what was taken. Also allowed after close().
  void release(std::size_t bytes) TINKEX_EXCLUDES(mutex_);

  /// Wakes every waiter with kClosed, now and from now on. Idempotent.
  void close() TINKEX_EXCLUDES(mutex_);

  std::size_t used() const TINKEX_EXCLUDES(mutex_);
  /// Threads inside acquire() that do not yet have their bytes.
  std::size_t waiting() const TINKEX_EXCLUDES(mutex_);

 private:
  bool fits(std::size_t bytes) const TINKEX_REQUIRES(mutex_);

  const std::size_t limit_;
  mutable Mutex mutex_;
  CondVar changed_;
  std::size_t used_ TINKEX_GUARDED_BY(mutex_) = 0;
  bool closed_ TINKEX_GUARDED_BY(mutex_) = false;
  // Like a bakery: each caller draws a number, and only the one whose number is up may take.
  std::uint64_t next_number_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::uint64_t now_serving_ TINKEX_GUARDED_BY(mutex_) = 0;
};

}  // namespace tinkex::internal
