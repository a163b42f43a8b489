#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/support/data.h"
#include "tinkex/error.h"
#include "tinkex/outputs.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/data.h"

namespace sft {

using Batch = tinkex::torch_ext::TokenBatch;

/// Tokenizes examples. The loss is the mean over the trained tokens that are predicted: the first
/// of a text is not. An example of no tokens is left out.
Batch make_batch(const std::vector<Example>& examples, const tinkex::Tokenizer& tokenizer);

/// A prompt's tokens, from the beginning of text on.
std::vector<std::int64_t> prompt_tokens(const Prompt& prompt, const tinkex::Tokenizer& tokenizer);

/// What a model says to a prompt of which one continuation was asked for. Errors: kDecode if the
/// server gives none.
tinkex::Result<std::string> answer_of(const tinkex::SampleResponse& response,
                                      const tinkex::Tokenizer& tokenizer);

}  // namespace sft
