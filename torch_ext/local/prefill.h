#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

#include "tinkex/error.h"
#include "tinkex/outputs.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/kv_cache.h"
#include "torch_ext/local/linear.h"
#include "torch_ext/local/sample_plan.h"

namespace tinkex::torch_ext::local {

/// A prompt that was read.
struct Prefilled {
  std::shared_ptr<const KvCache> cache;
  at::Tensor logits;  ///< Of the first new token, (1, vocab).
};

/// Reads the plan's prompt. Leaves its log-probabilities in `response`, where `options` ask for
/// them. kCancelled soon after `cancelled`, which may be empty, has become true; it is asked before
/// each layer and after each part of the log-probabilities.
Result<Prefilled> prefill(const BaseModel& model, const AdapterViews& adapter,
                          const SamplePlan& plan, const SampleOptions& options,
                          const std::function<bool()>& cancelled, SampleResponse& response);

/// What a sample that was given up ends with.
Error sample_cancelled();

}  // namespace tinkex::torch_ext::local
