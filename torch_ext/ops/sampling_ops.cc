#include "torch_ext/ops/sampling_ops.h"

#include <ATen/ops/empty.h>

#include <string>
#include <utility>

#include "tinkex/base/token_id.h"
#include "tinkex/validate.h"
#include "torch_ext/datum_convert.h"
#include "torch_ext/error_bridge.h"
#include "torch_ext/host_copies.h"
#include "torch_ext/ops/remote_op.h"
#include "torch_ext/ops/reply_checks.h"

namespace tinkex::torch_ext {
namespace {

using Stops = std::vector<SamplingParams::Stop>;

/// Texts come first, so that the core's errors count them as the caller does.
std::optional<Stops> to_stops(const Optional<c10::List<std::int64_t>>& stop_tokens,
                              const Optional<c10::List<std::string>>& stop) {
  if (!stop_tokens && !stop) return std::nullopt;
  Stops stops;
  if (stop) {
    for (const std::string& text : *stop) stops.emplace_back(text);
  }
  if (!stop_tokens) return stops;
  for (std::size_t i = 0; i < stop_tokens->size(); ++i) {
    const std::int64_t token = stop_tokens->get(i);
    if (!internal::is_token_id(token)) {
      throw_error(invalid_argument("stop_tokens[" + std::to_string(i) + "] is " +
                                   std::to_string(token) +
                                   ", expected a token id in [0, 2147483648)"));
    }
    stops.emplace_back(token);
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

SamplingParams to_params(Optional<std::int64_t> max_tokens, Optional<std::int64_t> seed,
                         double temperature, std::int64_t top_k, double top_p,
                         const Optional<c10::List<std::int64_t>>& stop_tokens,
                         const Optional<c10::List<std::string>>& stop) {
  SamplingParams params;
  if (max_tokens) params.max_tokens = *max_tokens;
  params.seed = to_seed(seed);
  params.temperature = temperature;
  params.top_k = top_k;
  params.top_p = top_p;
  params.stop = to_stops(stop_tokens, stop);
  return params;
}

/// `tensor`, or a copy of it where it lies on a CUDA device.
at::Tensor on_host(const at::Tensor& tensor) {
  HostCopies copies;
  at::Tensor host = copies.start(tensor);
  copies.finish();
  return host;
}

std::string prompt_name(std::size_t index) { return "prompts[" + std::to_string(index) + "]"; }

/// Checked here, all of them, because the client checks each only when its turn to be sent comes.
void check_prompts(const std::vector<ModelInput>& prompts, std::int64_t num_samples,
                   const SamplingParams& params, const SampleOptions& options) {
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    Status valid = find_problems(prompts[i], num_samples, params, options).status();
    if (!valid) throw_error(std::move(valid).error().with_context(prompt_name(i)));
  }
}

AskedSamples asked_for(std::int64_t num_samples, const SamplingParams& params) {
  AskedSamples asked;
  asked.samples = static_cast<std::size_t>(num_samples);
  if (params.max_tokens) asked.max_tokens = static_cast<std::size_t>(*params.max_tokens);
  return asked;
}

/// Gives the error the prompt's name.
template <class T>
Result<T> named(Result<T> result, std::size_t index) {
  if (result) return result;
  return std::move(result).error().with_context(prompt_name(index));
}

at::TensorOptions like(const at::Tensor& tensor, at::ScalarType type) {
  return tensor.options().dtype(type);
}

void check_meta_prompt(const at::Tensor& prompt) {
  if (prompt.dim() == 1) return;
  throw_error(invalid_argument("a prompt has " + std::to_string(prompt.dim()) +
                               " dimensions, expected one dimension of token ids"));
}

at::Tensor shape_of_logprobs(const SamplingPtr&, const at::Tensor& prompt) {
  check_meta_prompt(prompt);
  return at::empty_symint(prompt.sym_sizes(), like(prompt, at::kFloat));
}

std::tuple<at::Tensor, at::Tensor> shape_of_ragged_logprobs(
    const SamplingPtr&, const std::vector<at::Tensor>& prompts) {
  // A tracer asks for the shape of what an empty list gives, too: the same error as without it.
  if (prompts.empty()) value_or_throw(borrow_prompts(prompts, "prompts"));
  c10::SymInt total = 0;
  for (const at::Tensor& prompt : prompts) {
    check_meta_prompt(prompt);
    total = total + prompt.sym_size(0);
  }
  return {
      at::empty_symint({total}, like(prompts.front(), at::kFloat)),
      at::empty({static_cast<std::int64_t>(prompts.size()) + 1}, like(prompts.front(), at::kLong))};
}

}  // namespace

Future<SampleResponse> start_sample(const SamplingPtr& client, const at::Tensor& prompt,
                                    std::int64_t num_samples, Optional<std::int64_t> max_tokens,
                                    Optional<std::int64_t> seed, double temperature,
                                    std::int64_t top_k, double top_p,
                                    const Optional<c10::List<std::int64_t>>& stop_tokens,
                                    const Optional<c10::List<std::string>>& stop) {
  const SamplingParams params =
      to_params(max_tokens, seed, temperature, top_k, top_p, stop_tokens, stop);
  const at::Tensor host = on_host(prompt);
  const ModelInput input = value_or_throw(borrow_prompt(host, "prompt"));
  return unless_refused(client->client().sample(input, num_samples, params))
      .then([asked = asked_for(num_samples, params)](Result<SampleResponse> response) {
        return checked_samples(std::move(response), asked);
      });
}

Future<SampleBatch> start_sample_ragged(const SamplingPtr& client,
                                        const std::vector<at::Tensor>& prompts,
                                        std::int64_t num_samples, Optional<std::int64_t> max_tokens,
                                        Optional<std::int64_t> seed, double temperature,
                                        std::int64_t top_k, double top_p,
                                        const Optional<c10::List<std::int64_t>>& stop_tokens,
                                        const Optional<c10::List<std::string>>& stop,
                                        bool prompt_logprobs, std::int64_t topk_prompt_logprobs) {
  const SamplingParams params =
      to_params(max_tokens, seed, temperature, top_k, top_p, stop_tokens, stop);
  const SampleOptions options{.prompt_logprobs = prompt_logprobs,
                              .topk_prompt_logprobs = topk_prompt_logprobs};
  HostCopies copies;
  const HostTensors host(prompts, copies);
  copies.finish();
  const std::vector<ModelInput> inputs = value_or_throw(borrow_prompts(host.get(), "prompts"));
  check_prompts(inputs, num_samples, params, options);
  const bool scored = prompt_logprobs || topk_prompt_logprobs > 0;
  std::vector<Future<SampleResponse>> samples;
  samples.reserve(inputs.size());
  AskedSamples asked = asked_for(num_samples, params);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (scored) asked.prompt_logprobs = inputs[i].length().value_or(0);
    samples.push_back(client->client()
                          .sample(inputs[i], num_samples, params, options)
                          .then([i, asked](Result<SampleResponse> response) {
                            return named(checked_samples(std::move(response), asked), i);
                          }));
  }
  return when_all(std::move(samples), OnFailure::kStopAtFirst)
      .then([num_samples,
             options](Result<std::vector<SampleResponse>> responses) -> Result<SampleBatch> {
        if (!responses) return std::move(responses).error();
        return SampleBatch{*std::move(responses), num_samples, options};
      });
}

Future<std::vector<float>> start_compute_logprobs(const SamplingPtr& client,
                                                  const at::Tensor& prompt) {
  const at::Tensor host = on_host(prompt);
  const ModelInput input = value_or_throw(borrow_prompt(host, "prompt"));
  return unless_refused(client->client().compute_logprobs(input))
      .then(
          [tokens = static_cast<std::size_t>(prompt.numel())](Result<std::vector<float>> logprobs) {
            return checked_logprobs(std::move(logprobs), tokens);
          });
}

Future<LogprobsBatch> start_compute_logprobs_ragged(const SamplingPtr& client,
                                                    const std::vector<at::Tensor>& prompts) {
  HostCopies copies;
  const HostTensors host(prompts, copies);
  copies.finish();
  const std::vector<ModelInput> inputs = value_or_throw(borrow_prompts(host.get(), "prompts"));
  check_prompts(inputs, 1, {}, {.prompt_logprobs = true});
  std::vector<Future<std::vector<float>>> rows;
  rows.reserve(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    rows.push_back(client->client().compute_logprobs(inputs[i]).then(
        [i, tokens = inputs[i].length().value_or(0)](Result<std::vector<float>> logprobs) {
          return named(checked_logprobs(std::move(logprobs), tokens), i);
        }));
  }
  return when_all(std::move(rows), OnFailure::kStopAtFirst)
      .then([](Result<std::vector<std::vector<float>>> values) -> Result<LogprobsBatch> {
        if (!values) return std::move(values).error();
        return LogprobsBatch{*std::move(values)};
      });
}

void register_sampling_kernels(torch::Library& library) {
  register_forms<&start_sample>(library, "sample");
  register_forms<&start_sample_ragged>(library, "sample_ragged");
  register_forms<&start_compute_logprobs>(library, "compute_logprobs");
  register_forms<&start_compute_logprobs_ragged>(library, "compute_logprobs_ragged");
}

void register_sampling_meta_kernels(torch::Library& library) {
  refuse_meta_forms(library, "sample");
  refuse_meta_forms(library, "sample_ragged");
  library.impl("compute_logprobs", TORCH_FN(shape_of_logprobs));
  library.impl("compute_logprobs_ragged", TORCH_FN(shape_of_ragged_logprobs));
  for (const std::string name : {"compute_logprobs", "compute_logprobs_ragged"}) {
    refuse_meta(library, name + "_async");
    refuse_meta(library, name + "_future");
  }
}

}  // namespace tinkex::torch_ext
