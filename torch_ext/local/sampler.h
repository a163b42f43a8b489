#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "tinkex/error.h"
#include "tinkex/model_input.h"
#include "tinkex/outputs.h"
#include "tinkex/params.h"
#include "torch_ext/local/adapter.h"
#include "torch_ext/local/base_model.h"

namespace tinkex::torch_ext::local {

/// Samples of one request.
inline constexpr std::int64_t kMaxSamples = 4096;

struct SampleRequest {
  ModelInput prompt;
  std::int64_t num_samples = 1;
  SamplingParams params;
  SampleOptions options;
};

/// Draws continuations of the prompt from `model`, adapted by `adapter` unless that is null: one
/// request alone through a SampleEngine.
///
/// Order: divide by the temperature, keep the top_k likeliest, then the fewest whose mass reaches
/// top_p, draw. Temperature 0 takes the likeliest token, the lowest id on ties. Reported logprobs
/// are those of the temperature's distribution before top_k and top_p (at temperature 0 of the
/// unscaled one); prompt logprobs are never scaled. Without max_tokens a sequence may fill the
/// context. A stop token is part of the output, a stop string ends it at the token that
/// completes it.
///
/// The random numbers of a sequence depend on the seed, its index and the position alone. Without
/// a seed one is drawn.
///
/// Threads: the thread that computes must have called at::init_num_threads() once. `cancelled` may
/// be null; once it is true the call returns kCancelled within the time of one token, or of reading
/// the prompt.
Result<SampleResponse> sample(const std::shared_ptr<const BaseModel>& model,
                              const std::shared_ptr<const Adapter>& adapter,
                              const SampleRequest& request, const std::atomic<bool>* cancelled);

}  // namespace tinkex::torch_ext::local
