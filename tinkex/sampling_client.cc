#include "tinkex/sampling_client.h"

#include <utility>

#include "tinkex/connection.h"

namespace tinkex {

const std::string& SamplingClient::session_id() const { return connection_->session_id(); }

Future<SampleResponse> SamplingClient::sample(const ModelInput& prompt, std::int64_t num_samples,
                                              const SamplingParams& params,
                                              const SampleOptions& options,
                                              const CallOptions& call) {
  return connection_->sample(prompt, num_samples, params, options, call);
}

Future<std::vector<float>> SamplingClient::compute_logprobs(const ModelInput& prompt,
                                                            const CallOptions& call) {
  SamplingParams params;
  params.max_tokens = 1;  // the API has no request without sampling
  return connection_->sample(prompt, 1, params, {.prompt_logprobs = true}, call)
      .then([](Result<SampleResponse> response) -> Result<std::vector<float>> {
        if (!response.ok()) return std::move(response).error();
        return std::move(response->prompt_logprobs);
      });
}

void SamplingClient::close() { connection_->close(); }

}  // namespace tinkex
