#include "tinkex/base/buffer_pool.h"

#include <algorithm>
#include <new>
#include <utility>

namespace tinkex::internal {

std::shared_ptr<BufferPool> BufferPool::create(std::size_t max_retained_bytes) {
  return std::shared_ptr<BufferPool>(new BufferPool(max_retained_bytes));
}

std::shared_ptr<ByteBuffer> BufferPool::acquire(std::size_t capacity) {
  std::unique_ptr<ByteBuffer> buffer = take(capacity);
  if (!buffer) buffer = std::make_unique<ByteBuffer>();
  buffer->reserve(capacity);
  return std::shared_ptr<ByteBuffer>(buffer.release(), [pool = weak_from_this()](ByteBuffer* raw) {
    std::unique_ptr<ByteBuffer> returned(raw);
    if (const std::shared_ptr<BufferPool> alive = pool.lock()) {
      alive->give_back(std::move(returned));
    }
  });
}

std::size_t BufferPool::retained_bytes() const {
  MutexLock lock(mutex_);
  return retained_bytes_;
}

std::unique_ptr<ByteBuffer> BufferPool::take(std::size_t capacity) {
  MutexLock lock(mutex_);
  // The youngest that is large enough: its pages are the likeliest to be in the cache.
  const auto fitting = std::find_if(idle_.rbegin(), idle_.rend(), [capacity](const auto& buffer) {
    return buffer->capacity() >= capacity;
  });
  if (fitting == idle_.rend()) return nullptr;
  std::unique_ptr<ByteBuffer> buffer = std::move(*fitting);
  idle_.erase(std::next(fitting).base());
  retained_bytes_ -= buffer->capacity();
  return buffer;
}

void BufferPool::give_back(std::unique_ptr<ByteBuffer> buffer) noexcept {
  buffer->clear();
  const std::size_t capacity = buffer->capacity();
  if (capacity == 0 || capacity > max_retained_bytes_) return;
  // Those that no longer fit are freed after the lock is given up.
  std::vector<std::unique_ptr<ByteBuffer>> evicted;
  MutexLock lock(mutex_);
  try {
    idle_.push_back(std::move(buffer));
    retained_bytes_ += capacity;
    while (retained_bytes_ > max_retained_bytes_) {
      evicted.push_back(std::move(idle_.front()));
      idle_.erase(idle_.begin());
      retained_bytes_ -= evicted.back()->capacity();
    }
  } catch (const std::bad_alloc&) {
    // No memory to remember it: an idle buffer is no loss.
  }
}

}  // namespace tinkex::internal
