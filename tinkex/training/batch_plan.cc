#include "tinkex/batch_plan.h"

#include "tinkex/training/chunker.h"
#include "tinkex/wire/codec.h"

namespace tinkex {

std::size_t BatchPlan::numbers() const {
  std::size_t sum = 0;
  for (const BatchChunk& chunk : chunks) sum += chunk.numbers;
  return sum;
}

std::size_t BatchPlan::bytes() const {
  std::size_t sum = 0;
  for (const BatchChunk& chunk : chunks) sum += chunk.bytes;
  return sum;
}

BatchPlan plan_batch(std::span<const Datum> data, const ChunkLimits& limits) {
  std::vector<internal::DatumSize> sizes;
  sizes.reserve(data.size());
  for (const Datum& datum : data) {
    sizes.push_back({wire::count_numbers(datum), wire::estimate_bytes(datum)});
  }
  BatchPlan plan;
  for (const internal::ChunkRange& range : internal::chunk_sizes(sizes, limits)) {
    BatchChunk chunk{range.begin, range.end, 0, 0};
    for (std::size_t i = range.begin; i < range.end; ++i) {
      chunk.numbers += sizes[i].numbers;
      chunk.bytes += sizes[i].bytes;
    }
    plan.chunks.push_back(chunk);
  }
  return plan;
}

}  // namespace tinkex
