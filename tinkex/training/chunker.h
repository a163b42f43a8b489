#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "tinkex/options.h"

namespace tinkex::internal {

/// What a datum counts as; see ChunkLimits.
struct DatumSize {
  std::size_t numbers = 0;
  std::size_t bytes = 0;
};

/// Datums [begin, end) of a batch.
struct ChunkRange {
  std::size_t begin = 0;
  std::size_t end = 0;

  std::size_t size() const noexcept { return end - begin; }
  friend bool operator==(const ChunkRange&, const ChunkRange&) = default;
};

/// Splits a batch into chunks that obey `limits`; what just reaches a limit stays together. Order
/// is kept, no chunk is empty, and a datum above a limit becomes a chunk alone. An empty batch
/// gives no chunk. One pass; pure; thread-safe.
std::vector<ChunkRange> chunk_sizes(std::span<const DatumSize> sizes, const ChunkLimits& limits);

}  // namespace tinkex::internal
