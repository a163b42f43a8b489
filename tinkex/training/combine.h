#pragma once

#include <span>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/outputs.h"
#include "tinkex/training/chunker.h"

namespace tinkex::internal {

/// Joins the results of a batch's chunks, given in chunk order, as if the batch had been one
/// request: the loss outputs one after another, the metrics reduced (metrics_reduction.h). The
/// output type is the first chunk's. A chunk of another type, or one with more or fewer outputs
/// than `sent` has datums in its place, gives kDecode. No chunk at all gives kInternal.
Result<ForwardBackwardOutput> combine_forward_backward_results(
    std::vector<ForwardBackwardOutput> chunks, std::span<const ChunkRange> sent);

}  // namespace tinkex::internal
