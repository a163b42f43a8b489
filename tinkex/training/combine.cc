#include "tinkex/training/combine.h"

#include <cstddef>
#include <iterator>
#include <string>
#include <utility>

#include "tinkex/training/metrics_reduction.h"

namespace tinkex::internal {
namespace {

Error type_mismatch(std::size_t index, const std::vector<ForwardBackwardOutput>& chunks) {
  return Error(ErrorCode::kDecode,
               "the server answered chunk " + std::to_string(index + 1) + " of " +
                   std::to_string(chunks.size()) + " with outputs of type '" +
                   chunks[index].loss_fn_output_type + "' but the first chunk with '" +
                   chunks.front().loss_fn_output_type +
                   "'; the results of one batch cannot be combined");
}

/// Without this, every later datum would get the outputs of its neighbour.
Error count_mismatch(std::size_t index, const std::vector<ForwardBackwardOutput>& chunks,
                     std::size_t sent) {
  return Error(ErrorCode::kDecode, "the server answered chunk " + std::to_string(index + 1) +
                                       " of " + std::to_string(chunks.size()) +
                                       " with loss_fn_outputs for " +
                                       std::to_string(chunks[index].loss_fn_outputs.size()) +
                                       " datums, but the chunk has " + std::to_string(sent));
}

}  // namespace

Result<ForwardBackwardOutput> combine_forward_backward_results(
    std::vector<ForwardBackwardOutput> chunks, std::span<const ChunkRange> sent) {
  if (chunks.empty() || chunks.size() != sent.size()) {
    return Error(ErrorCode::kInternal, "there are not as many chunk results as chunks");
  }
  std::vector<ChunkMetrics> metrics;
  metrics.reserve(chunks.size());
  std::size_t num_outputs = 0;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    if (chunks[i].loss_fn_output_type != chunks.front().loss_fn_output_type) {
      return type_mismatch(i, chunks);
    }
    if (chunks[i].loss_fn_outputs.size() != sent[i].size()) {
      return count_mismatch(i, chunks, sent[i].size());
    }
    metrics.push_back({&chunks[i].metrics, chunks[i].loss_fn_outputs.size()});
    num_outputs += chunks[i].loss_fn_outputs.size();
  }

  ForwardBackwardOutput combined;
  combined.loss_fn_output_type = chunks.front().loss_fn_output_type;
  combined.metrics = reduce_metrics(metrics);
  combined.loss_fn_outputs.reserve(num_outputs);
  for (ForwardBackwardOutput& chunk : chunks) {
    std::move(chunk.loss_fn_outputs.begin(), chunk.loss_fn_outputs.end(),
              std::back_inserter(combined.loss_fn_outputs));
  }
  return combined;
}

}  // namespace tinkex::internal
