#include "examples/support/batch.h"

#include <ATen/ops/tensor.h>

#include <utility>

namespace sft {

Batch make_batch(const std::vector<Example>& examples, const tinkex::Tokenizer& tokenizer) {
  std::vector<tinkex::torch_ext::TokenExample> sequences;
  for (const Example& example : examples) {
    const auto text = tinkex::torch_ext::tokenize(example, tokenizer).value();
    if (text.tokens.empty()) continue;
    sequences.push_back({at::tensor(text.tokens), at::tensor(text.weights)});
  }
  return tinkex::torch_ext::Collate().apply_batch(std::move(sequences));
}

std::vector<std::int64_t> prompt_tokens(const Prompt& prompt, const tinkex::Tokenizer& tokenizer) {
  std::vector<std::int64_t> ids;
  if (!prompt.begun) ids = tokenizer.begin_of_text();
  const std::vector<std::int64_t> text = tokenizer.encode(prompt.text);
  ids.insert(ids.end(), text.begin(), text.end());
  // A model goes on from something.
  if (ids.empty()) ids.push_back(tokenizer.eos_token());
  return ids;
}

tinkex::Result<std::string> answer_of(const tinkex::SampleResponse& response,
                                      const tinkex::Tokenizer& tokenizer) {
  if (response.sequences.empty()) {
    return tinkex::Error(tinkex::ErrorCode::kDecode,
                         "the server's answer to a prompt has 0 sequences, expected 1; it does not "
                         "speak the Tinker API");
  }
  const std::vector<std::int32_t>& tokens = response.sequences.front().tokens;
  return tokenizer.decode(std::vector<std::int64_t>(tokens.begin(), tokens.end()));
}

}  // namespace sft
