#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "tinkex/outputs.h"

// Whether a server sent as much as it was asked for. What has the wrong number of values would
// fall among those of other sequences, or be taken for those of other tokens. Errors: kDecode.

namespace tinkex::torch_ext {

/// How many log-probabilities each datum shall get: one for each target. 0: it has no targets, and
/// whatever comes is taken.
std::vector<std::size_t> expected_logprobs(std::span<const Datum> data);

/// The output of every datum is there, and has as many log-probabilities.
Result<ForwardBackwardOutput> checked_outputs(Result<ForwardBackwardOutput> output,
                                              const std::vector<std::size_t>& logprobs);

/// What a call for samples has asked for.
struct AskedSamples {
  std::size_t samples = 1;
  std::optional<std::size_t> max_tokens;
  std::optional<std::size_t> prompt_logprobs;  ///< Absent: none were asked for.
};
Result<SampleResponse> checked_samples(Result<SampleResponse> response, const AskedSamples& asked);

/// One log-probability for each token of a prompt.
Result<std::vector<float>> checked_logprobs(Result<std::vector<float>> logprobs,
                                            std::size_t tokens);

}  // namespace tinkex::torch_ext
