#include "tinkex/base/buffer_pool.h"

#include <utility>

namespace tinkex::internal {

std::shared_ptr<BufferPool> BufferPool::create(std::size_t max_retained_bytes) {
  return std::shared_ptr<BufferPool>(new BufferPool(max_retained_bytes));
}

std::shared_ptr<ByteBuffer> BufferPool::acquire(std::size_t capacity) {
  auto buffer = std::make_unique<ByteBuffer>(idle_.take(capacity));
  buffer->reserve(capacity);
  return std::shared_ptr<ByteBuffer>(buffer.release(), [pool = weak_from_this()](ByteBuffer* raw) {
    const std::unique_ptr<ByteBuffer> returned(raw);
    if (const std::shared_ptr<BufferPool> alive = pool.lock()) {
      alive->idle_.give_back(std::move(*returned));
    }
  });
}

}  // namespace tinkex::internal
