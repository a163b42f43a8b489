#include "examples/support/batch.h"

#include <ATen/ops/tensor.h>

#include <numeric>

namespace sft {

Batch make_batch(const std::vector<Example>& examples, const tinkex::Tokenizer& tokenizer) {
  const std::vector<std::int64_t> begin = tokenizer.begin_of_text();
  Batch batch;
  double trained = 0;
  for (const Example& example : examples) {
    std::vector<std::int64_t> ids = example.begun ? std::vector<std::int64_t>() : begin;
    std::vector<float> learned(ids.size(), 0.0F);
    for (const Part& part : example.parts) {
      const std::vector<std::int64_t> text = tokenizer.encode(part.text);
      ids.insert(ids.end(), text.begin(), text.end());
      if (part.trained && example.ended) ids.push_back(tokenizer.eos_token());
      learned.resize(ids.size(), part.trained ? 1.0F : 0.0F);
    }
    // What comes first needs something to come after, as in prompt_tokens().
    if (ids.size() == 1) {
      ids.insert(ids.begin(), tokenizer.eos_token());
      learned.insert(learned.begin(), 0.0F);
    }
    if (ids.empty()) continue;
    // The shift by one: each token is the target of the one before.
    const at::Tensor sequence = at::tensor(ids);
    const at::Tensor weights = at::tensor(learned);
    batch.tokens.push_back(sequence.slice(0, 0, -1));
    batch.targets.push_back(sequence.slice(0, 1));
    batch.weights.push_back(weights.slice(0, 1));
    batch.token_count += static_cast<std::int64_t>(ids.size()) - 1;
    trained += std::accumulate(learned.begin() + 1, learned.end(), 0.0);
  }
  if (trained == 0) return batch;
  for (at::Tensor& weights : batch.weights) weights.div_(trained);
  return batch;
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

}  // namespace sft
