#include "torch_ext/ops/reply_checks.h"

#include <string>
#include <utility>

namespace tinkex::torch_ext {
namespace {

Status check_count(std::size_t actual, std::size_t expected, const std::string& what) {
  if (actual == expected) return ok_status();
  return Error(ErrorCode::kDecode, "the server sent " + std::to_string(actual) + " " + what +
                                       ", expected " + std::to_string(expected));
}

Status check_sequences(const SampleResponse& response, const AskedSamples& asked) {
  Status status = check_count(response.sequences.size(), asked.samples, "samples");
  if (!asked.max_tokens) return status;
  for (std::size_t i = 0; status.ok() && i < response.sequences.size(); ++i) {
    const std::size_t tokens = response.sequences[i].tokens.size();
    if (tokens <= *asked.max_tokens) continue;
    status = Error(ErrorCode::kDecode, "the server sent " + std::to_string(tokens) +
                                           " tokens of sample " + std::to_string(i) +
                                           ", expected at most max_tokens, which is " +
                                           std::to_string(*asked.max_tokens));
  }
  return status;
}

}  // namespace

std::vector<std::size_t> expected_logprobs(std::span<const Datum> data) {
  std::vector<std::size_t> counts;
  counts.reserve(data.size());
  for (const Datum& datum : data) {
    const TensorData* targets = find(datum.loss_fn_inputs, "target_tokens");
    counts.push_back(targets == nullptr || targets->is_sparse() ? 0 : targets->size());
  }
  return counts;
}

Result<ForwardBackwardOutput> checked_outputs(Result<ForwardBackwardOutput> output,
                                              const std::vector<std::size_t>& logprobs) {
  if (!output) return output;
  const auto& datums = output->loss_fn_outputs;
  if (Status all = check_count(datums.size(), logprobs.size(), "outputs"); !all) return all.error();
  for (std::size_t i = 0; i < datums.size(); ++i) {
    const TensorData* found = logprobs[i] == 0 ? nullptr : find(datums[i], "logprobs");
    if (found == nullptr || found->is_sparse()) continue;
    Status count = check_count(found->size(), logprobs[i],
                               "logprobs of datum " + std::to_string(i) + ", which has " +
                                   std::to_string(logprobs[i]) + " targets");
    if (!count) return count.error();
  }
  return output;
}

Result<SampleResponse> checked_samples(Result<SampleResponse> response, const AskedSamples& asked) {
  if (!response) return response;
  Status status = check_sequences(*response, asked);
  if (status && asked.prompt_logprobs) {
    status = check_count(response->prompt_logprobs.size(), *asked.prompt_logprobs,
                         "logprobs of the prompt");
  }
  if (!status) return status.error();
  return response;
}

Result<std::vector<float>> checked_logprobs(Result<std::vector<float>> logprobs,
                                            std::size_t tokens) {
  if (!logprobs) return logprobs;
  Status count = check_count(logprobs->size(), tokens, "logprobs of the prompt");
  if (!count) return count.error();
  return logprobs;
}

}  // namespace tinkex::torch_ext
