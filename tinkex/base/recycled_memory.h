#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <new>
#include <utility>
#include <vector>

#include "tinkex/base/mutex.h"

namespace tinkex::internal {

/// Idle buffers that wait for their next use: fresh pages cost more than filling them. `Buffer` has
/// clear(), capacity() and a move constructor. Thread-safe.
template <class Buffer>
class RecycledMemory {
 public:
  /// Keeps at most `max_retained_bytes` of capacity.
  explicit RecycledMemory(std::size_t max_retained_bytes)
      : max_retained_bytes_(max_retained_bytes) {}

  /// An empty buffer, if there is one, that already holds `capacity` bytes; else a new one.
  Buffer take(std::size_t capacity) TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    // The youngest that is large enough: its pages are the likeliest to be in the cache.
    const auto fitting = std::find_if(idle_.rbegin(), idle_.rend(), [capacity](const Buffer& idle) {
      return idle.capacity() >= capacity;
    });
    if (fitting == idle_.rend()) return Buffer();
    Buffer buffer = std::move(*fitting);
    idle_.erase(std::next(fitting).base());
    retained_bytes_ -= buffer.capacity();
    return buffer;
  }

  void give_back(Buffer buffer) noexcept TINKEX_EXCLUDES(mutex_) {
    buffer.clear();
    const std::size_t capacity = buffer.capacity();
    if (capacity == 0 || capacity > max_retained_bytes_) return;
    // Those that no longer fit are freed after the lock is given up.
    std::vector<Buffer> evicted;
    MutexLock lock(mutex_);
    try {
      idle_.push_back(std::move(buffer));
      retained_bytes_ += capacity;
      while (retained_bytes_ > max_retained_bytes_) {
        evicted.push_back(std::move(idle_.front()));
        idle_.erase(idle_.begin());
        retained_bytes_ -= evicted.back().capacity();
      }
    } catch (const std::bad_alloc&) {
      // No memory to remember it: an idle buffer is no loss.
    }
  }

  /// Capacity of the idle buffers.
  std::size_t retained_bytes() const TINKEX_EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return retained_bytes_;
  }

 private:
  const std::size_t max_retained_bytes_;
  mutable Mutex mutex_;
  std::size_t retained_bytes_ TINKEX_GUARDED_BY(mutex_) = 0;
  std::vector<Buffer> idle_ TINKEX_GUARDED_BY(mutex_);
};

}  // namespace tinkex::internal
