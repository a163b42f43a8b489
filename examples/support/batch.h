#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "examples/support/data.h"
#include "tinkex/tokenizer.h"

namespace sft {

/// A batch as LibTorch tensors, one of each per example. Position i of `tokens` is read, and
/// `targets[i]` is what should come next.
struct Batch {
  std::vector<at::Tensor> tokens;   ///< int64.
  std::vector<at::Tensor> targets;  ///< int64, of the length of `tokens`.
  std::vector<at::Tensor> weights;  ///< float32; 0 where nothing is learned. All sum to 1, or 0.
  std::int64_t token_count = 0;
};

/// Tokenizes examples. The weights make the loss, a plain sum, the mean over the trained tokens
/// that are predicted: the first of a text is not. An example of a single token follows an end of
/// text; one of none is left out.
Batch make_batch(const std::vector<Example>& examples, const tinkex::Tokenizer& tokenizer);

/// A prompt's tokens, from the beginning of text on.
std::vector<std::int64_t> prompt_tokens(const Prompt& prompt, const tinkex::Tokenizer& tokenizer);

}  // namespace sft
