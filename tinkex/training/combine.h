#pragma once

#include <vector>

#include "tinkex/error.h"
#include "tinkex/outputs.h"

namespace tinkex::internal {

/// Joins the results of a batch's chunks, given in chunk order, as if the batch had been one
/// request: the loss outputs one after another, the metrics reduced (metrics_reduction.h). The
/// output type is the first chunk's; a chunk of another type gives kDecode. No chunk at all gives
/// kInternal.
Result<ForwardBackwardOutput> combine_forward_backward_results(
    std::vector<ForwardBackwardOutput> chunks);

}  // namespace tinkex::internal
