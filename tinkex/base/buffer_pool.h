#pragma once

#include <cstddef>
#include <memory>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/base/recycled_memory.h"

namespace tinkex::internal {

/// Recycles ByteBuffers, so that encoding a batch meets memory that is mapped already. Thread-safe.
/// A buffer may outlive the pool; it is then freed.
class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  static constexpr std::size_t kDefaultRetainedBytes = std::size_t{64} << 20;

  /// Keeps idle buffers of at most `max_retained_bytes` capacity in all.
  static std::shared_ptr<BufferPool> create(std::size_t max_retained_bytes = kDefaultRetainedBytes);

  /// An empty buffer, preferably one that already holds `capacity` bytes. Comes back to the pool
  /// when the last pointer to it goes.
  std::shared_ptr<ByteBuffer> acquire(std::size_t capacity = 0);

  /// Capacity of the idle buffers.
  std::size_t retained_bytes() const { return idle_.retained_bytes(); }

 private:
  explicit BufferPool(std::size_t max_retained_bytes) : idle_(max_retained_bytes) {}

  RecycledMemory<ByteBuffer> idle_;
};

}  // namespace tinkex::internal
