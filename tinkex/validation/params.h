#pragma once

#include <cstdint>

#include "tinkex/error.h"
#include "tinkex/params.h"

namespace tinkex::internal {

// Each answers success, or one kInvalidArgument that names every field that is out of range.

/// Learning rate, weight decay and clip norm finite and not negative, betas in [0, 1), eps
/// positive.
Status validate(const AdamParams& params);

/// Rank of at least 1 and at least one part to train.
Status validate(const LoraConfig& config);

/// Also checks how many samples are wanted: at least 1.
Status validate(const SamplingParams& params, std::int64_t num_samples);

Status validate(const SampleOptions& options);

}  // namespace tinkex::internal
