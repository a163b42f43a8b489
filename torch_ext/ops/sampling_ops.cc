#include "torch_ext/ops/sampling_ops.h"

#include <utility>

#include "torch_ext/datum_convert.h"
#include "torch_ext/error_bridge.h"
#include "torch_ext/ops/remote_op.h"

namespace tinkex::torch_ext {
namespace {

using Stops = std::vector<SamplingParams::Stop>;

std::optional<Stops> to_stops(const Optional<c10::List<std::int64_t>>& stop_tokens,
                              const Optional<c10::List<std::string>>& stop) {
  if (!stop_tokens && !stop) return std::nullopt;
  Stops stops;
  if (stop_tokens) {
    for (const std::int64_t token : *stop_tokens) stops.emplace_back(token);
  }
  if (stop) {
    for (const std::string& text : *stop) stops.emplace_back(text);
  }
  return stops;
}

std::optional<std::uint64_t> to_seed(Optional<std::int64_t> seed) {
  if (!seed) return std::nullopt;
  if (*seed < 0) {
    throw_error(invalid_argument("seed is " + std::to_string(*seed) + ", expected 0 or more"));
  }
  return static_cast<std::uint64_t>(*seed);
}

}  // namespace

Future<SampleResponse> start_sample(const SamplingPtr& client, const at::Tensor& prompt,
                                    std::int64_t num_samples, Optional<std::int64_t> max_tokens,
                                    Optional<std::int64_t> seed, double temperature,
                                    std::int64_t top_k, double top_p,
                                    const Optional<c10::List<std::int64_t>>& stop_tokens,
                                    const Optional<c10::List<std::string>>& stop) {
  SamplingParams params;
  if (max_tokens) params.max_tokens = *max_tokens;
  params.seed = to_seed(seed);
  params.temperature = temperature;
  params.top_k = top_k;
  params.top_p = top_p;
  params.stop = to_stops(stop_tokens, stop);
  const ModelInput input = value_or_throw(borrow_prompt(prompt, "prompt"));
  return client->client().sample(input, num_samples, params);
}

Future<std::vector<float>> start_compute_logprobs(const SamplingPtr& client,
                                                  const at::Tensor& prompt) {
  return client->client().compute_logprobs(value_or_throw(borrow_prompt(prompt, "prompt")));
}

void register_sampling_kernels(torch::Library& library) {
  register_forms<&start_sample>(library, "sample");
  register_forms<&start_compute_logprobs>(library, "compute_logprobs");
}

void register_sampling_meta_kernels(torch::Library& library) {
  refuse_meta_forms(library, "sample");
  refuse_meta_forms(library, "compute_logprobs");
}

}  // namespace tinkex::torch_ext
