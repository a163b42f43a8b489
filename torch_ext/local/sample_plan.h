#pragma once

#include <cstdint>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/sampler.h"
#include "torch_ext/local/stop_rules.h"

namespace tinkex::torch_ext::local {

/// A sample request after validation.
struct SamplePlan {
  std::vector<std::int64_t> prompt;
  std::int64_t max_tokens = 0;
  std::uint64_t seed = 0;
  StopRules stop;

  std::int64_t prompt_length() const { return static_cast<std::int64_t>(prompt.size()); }

  /// Refuses what `model` cannot do; the message names the field and its value.
  static Result<SamplePlan> of(const SampleRequest& request, const ModelConfig& model);
};

}  // namespace tinkex::torch_ext::local
