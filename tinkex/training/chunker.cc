#include "tinkex/training/chunker.h"

#include <limits>

namespace tinkex::internal {
namespace {

/// `used + more <= limit`, for any values.
bool fits(std::size_t used, std::size_t more, std::size_t limit) {
  return used <= limit && more <= limit - used;
}

}  // namespace

std::vector<ChunkRange> chunk_sizes(std::span<const DatumSize> sizes, const ChunkLimits& limits) {
  const std::size_t max_bytes = limits.max_bytes.value_or(std::numeric_limits<std::size_t>::max());
  std::vector<ChunkRange> chunks;
  ChunkRange chunk;
  DatumSize used;
  for (const DatumSize& size : sizes) {
    const bool room = fits(chunk.size(), 1, limits.max_examples) &&
                      fits(used.numbers, size.numbers, limits.max_numbers) &&
                      fits(used.bytes, size.bytes, max_bytes);
    if (!room && chunk.size() > 0) {
      chunks.push_back(chunk);
      chunk.begin = chunk.end;
      used = {};
    }
    ++chunk.end;
    // Cannot wrap: either there was room below the limit, or `used` was 0.
    used.numbers += size.numbers;
    used.bytes += size.bytes;
  }
  if (chunk.size() > 0) chunks.push_back(chunk);
  return chunks;
}

}  // namespace tinkex::internal
