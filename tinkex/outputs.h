#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/params.h"

namespace tinkex {

/// Metric name to value. Names of forward and forward_backward metrics end in `:reduction`.
using Metrics = std::map<std::string, double>;

/// Result of forward and forward_backward.
struct ForwardBackwardOutput {
  std::string loss_fn_output_type;
  /// One entry per datum, in the order of the request; `logprobs` has the shape of target_tokens.
  std::vector<NamedTensors> loss_fn_outputs;
  Metrics metrics;
};

/// Result of optim_step.
struct OptimStepResponse {
  Metrics metrics;
};

/// Result of save_state.
struct SaveWeightsResponse {
  std::string path;  ///< `tinker://<run>/weights/<name>`.
};

/// Result of load_state.
struct LoadWeightsResponse {
  std::string path;
  std::string model_id;
};

/// Result of save_weights_for_sampler: a path when it was saved under a name, else a session.
struct SaveWeightsForSamplerResponse {
  std::optional<std::string> path;  ///< `tinker://<run>/sampler_weights/<name>`.
  std::optional<std::string> sampling_session_id;
};

enum class StopReason { kStop, kLength };

/// One sampled continuation.
struct SampledSequence {
  std::vector<std::int32_t> tokens;  ///< Without the prompt; a stop token is included.
  std::vector<float> logprobs;       ///< One per token, or empty if the server sent none.
  StopReason stop_reason = StopReason::kLength;
  std::string sequence_id;  ///< Given by servers that speak SDK 0.38; else empty.
};

/// One candidate of a position: token id and logprob.
using TokenLogprob = std::pair<std::int32_t, float>;

/// Result of sample.
struct SampleResponse {
  std::vector<SampledSequence> sequences;
  /// One per prompt token when asked for, else empty. NaN where undefined (always the first).
  std::vector<float> prompt_logprobs;
  /// Likeliest tokens per prompt position when asked for; empty lists where undefined.
  std::vector<std::vector<TokenLogprob>> topk_prompt_logprobs;
  std::int64_t prompt_cache_hit_tokens = 0;
};

/// What the server knows about a model.
struct ModelInfo {
  std::string model_id;
  std::string model_name;    ///< Base model.
  std::string tokenizer_id;  ///< Empty if the server does not say.
  std::string arch;
  bool is_lora = true;
  std::optional<std::int64_t> lora_rank;
};

/// A model that the server offers.
struct SupportedModel {
  std::string model_name;
  std::optional<std::int64_t> max_context_length;
};

}  // namespace tinkex
