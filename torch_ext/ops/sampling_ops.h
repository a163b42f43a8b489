#pragma once

// Calls on a sampling client, as scripts make them. Each checks and converts its arguments, sends,
// and returns without waiting.

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tinkex/future.h"
#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ops/results.h"
#include "torch_ext/torch_prelude.h"

namespace tinkex::torch_ext {

/// `stop_tokens` and `stop` (texts) together say what ends a sequence; without either the model's
/// own end-of-sequence tokens do, with an empty list nothing does.
Future<SampleResponse> start_sample(const SamplingPtr& client, const at::Tensor& prompt,
                                    std::int64_t num_samples, Optional<std::int64_t> max_tokens,
                                    Optional<std::int64_t> seed, double temperature,
                                    std::int64_t top_k, double top_p,
                                    const Optional<c10::List<std::int64_t>>& stop_tokens,
                                    const Optional<c10::List<std::string>>& stop);

/// The same for several prompts, whose samples are drawn side by side. All prompts are checked
/// before anything is sent. Every prompt has the same seed, so that equal prompts get equal
/// samples: ask for more by num_samples. The first failure ends the others; its error begins with
/// `prompts[i]`.
Future<SampleBatch> start_sample_ragged(const SamplingPtr& client,
                                        const std::vector<at::Tensor>& prompts,
                                        std::int64_t num_samples, Optional<std::int64_t> max_tokens,
                                        Optional<std::int64_t> seed, double temperature,
                                        std::int64_t top_k, double top_p,
                                        const Optional<c10::List<std::int64_t>>& stop_tokens,
                                        const Optional<c10::List<std::string>>& stop,
                                        bool prompt_logprobs, std::int64_t topk_prompt_logprobs);

/// One value per prompt token; NaN for the first.
Future<std::vector<float>> start_compute_logprobs(const SamplingPtr& client,
                                                  const at::Tensor& prompt);

/// The same for several prompts.
Future<LogprobsBatch> start_compute_logprobs_ragged(const SamplingPtr& client,
                                                    const std::vector<at::Tensor>& prompts);

/// Called by library.cc: the kernels for every device, and those for tensors without data, which
/// give the shape where it is known and else refuse to trace.
void register_sampling_kernels(torch::Library& library);
void register_sampling_meta_kernels(torch::Library& library);

}  // namespace tinkex::torch_ext
