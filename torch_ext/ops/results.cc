#include "torch_ext/ops/results.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <limits>

#include "torch_ext/error_bridge.h"
#include "torch_ext/metrics_tensor.h"

namespace tinkex::torch_ext {
namespace {

template <class To, class From>
at::Tensor vector_to_tensor(const std::vector<From>& values, at::ScalarType type) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, type);
  std::copy(values.begin(), values.end(), tensor.data_ptr<To>());
  return tensor;
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// The elements of all vectors as one tensor, with the offsets of each.
template <class To, class From>
Ragged join(const std::vector<const std::vector<From>*>& parts, at::ScalarType type) {
  std::vector<std::int64_t> lengths;
  std::int64_t total = 0;
  for (const auto* part : parts) {
    lengths.push_back(static_cast<std::int64_t>(part->size()));
    total += lengths.back();
  }
  at::Tensor values = at::empty({total}, type);
  To* to = values.data_ptr<To>();
  for (const auto* part : parts) to = std::copy(part->begin(), part->end(), to);
  return {std::move(values), offsets_of_lengths(lengths)};
}

/// The samples' own fields.
void add_sequences(const SampleBatch& batch, TensorDict& dict) {
  std::vector<const SampledSequence*> sequences;
  std::vector<const std::vector<std::int32_t>*> tokens;
  for (const SampleResponse& response : batch.responses) {
    for (const SampledSequence& sequence : response.sequences) {
      sequences.push_back(&sequence);
      tokens.push_back(&sequence.tokens);
    }
  }
  Ragged joined = join<std::int64_t>(tokens, at::kLong);
  const at::Tensor logprobs = at::full({joined.values.numel()}, kNan, at::kFloat);
  const at::Tensor stopped = at::empty({static_cast<std::int64_t>(sequences.size())}, at::kBool);
  auto* logprob = logprobs.data_ptr<float>();
  auto* stop = stopped.data_ptr<bool>();
  for (const SampledSequence* sequence : sequences) {
    const std::size_t known = std::min(sequence->logprobs.size(), sequence->tokens.size());
    std::copy_n(sequence->logprobs.begin(), known, logprob);
    logprob += sequence->tokens.size();
    *stop++ = sequence->stop_reason == StopReason::kStop;
  }
  dict.insert("tokens", std::move(joined.values));
  dict.insert("logprobs", logprobs);
  dict.insert("offsets", std::move(joined.offsets));
  dict.insert("stopped", stopped);
}

void add_cache_hits(const SampleBatch& batch, TensorDict& dict) {
  const at::Tensor hits = at::empty({static_cast<std::int64_t>(batch.responses.size())}, at::kLong);
  auto* hit = hits.data_ptr<std::int64_t>();
  for (const SampleResponse& one : batch.responses) *hit++ = one.prompt_cache_hit_tokens;
  dict.insert("prompt_cache_hit_tokens", hits);
}

void add_prompt_logprobs(const SampleBatch& batch, TensorDict& dict) {
  std::vector<const std::vector<float>*> parts;
  for (const SampleResponse& response : batch.responses) {
    parts.push_back(&response.prompt_logprobs);
  }
  Ragged joined = join<float>(parts, at::kFloat);
  dict.insert("prompt_logprobs", std::move(joined.values));
  dict.insert("prompt_offsets", std::move(joined.offsets));
}

/// As many as were asked for, or fewer if no position has as many.
std::int64_t topk_columns(const SampleBatch& batch) {
  std::size_t longest = 0;
  for (const SampleResponse& response : batch.responses) {
    for (const auto& candidates : response.topk_prompt_logprobs) {
      longest = std::max(longest, candidates.size());
    }
  }
  return std::min(batch.options.topk_prompt_logprobs, static_cast<std::int64_t>(longest));
}

void add_topk(const SampleBatch& batch, TensorDict& dict) {
  const std::int64_t k = topk_columns(batch);
  std::int64_t positions = 0;
  for (const SampleResponse& response : batch.responses) {
    positions += static_cast<std::int64_t>(response.prompt_logprobs.size());
  }
  const at::Tensor tokens = at::full({positions, k}, -1, at::kLong);
  const at::Tensor logprobs = at::full({positions, k}, kNan, at::kFloat);
  auto* token = tokens.data_ptr<std::int64_t>();
  auto* logprob = logprobs.data_ptr<float>();
  for (const SampleResponse& response : batch.responses) {
    const std::size_t rows = response.prompt_logprobs.size();
    for (std::size_t i = 0; i < std::min(rows, response.topk_prompt_logprobs.size()); ++i) {
      const auto& candidates = response.topk_prompt_logprobs[i];
      for (std::size_t j = 0; j < std::min(candidates.size(), static_cast<std::size_t>(k)); ++j) {
        const std::size_t at = i * static_cast<std::size_t>(k) + j;
        token[at] = candidates[j].first;
        logprob[at] = candidates[j].second;
      }
    }
    token += rows * static_cast<std::size_t>(k);
    logprob += rows * static_cast<std::size_t>(k);
  }
  dict.insert("topk_tokens", tokens);
  dict.insert("topk_logprobs", logprobs);
}

}  // namespace

TensorDict to_tensor_dict(const Metrics& metrics) {
  TensorDict dict;
  for (auto& [name, tensor] : metrics_to_tensors(metrics)) dict.insert(name, std::move(tensor));
  return dict;
}

auto Script<ForwardBackwardOutput>::from(const ForwardBackwardOutput& output) -> type {
  TensorListDict outputs;
  for (auto& [name, tensors] : value_or_throw(outputs_to_tensors(output.loss_fn_outputs))) {
    c10::List<at::Tensor> list;
    list.reserve(tensors.size());
    for (at::Tensor& tensor : tensors) list.push_back(std::move(tensor));
    outputs.insert(name, std::move(list));
  }
  return {std::move(outputs), to_tensor_dict(output.metrics)};
}

auto Script<RaggedOutput>::from(const RaggedOutput& output) -> type {
  TensorDict values;
  TensorDict offsets;
  for (auto& [name, ragged] : value_or_throw(outputs_to_ragged(output.output.loss_fn_outputs))) {
    values.insert(name, std::move(ragged.values));
    offsets.insert(name, std::move(ragged.offsets));
  }
  return {std::move(values), std::move(offsets), to_tensor_dict(output.output.metrics)};
}

auto Script<OptimStepResponse>::from(const OptimStepResponse& response) -> type {
  return to_tensor_dict(response.metrics);
}

auto Script<SampleResponse>::from(const SampleResponse& response) -> type {
  type result;
  auto& [tokens, logprobs, reasons] = result;
  for (const SampledSequence& sequence : response.sequences) {
    tokens.push_back(vector_to_tensor<std::int64_t>(sequence.tokens, at::kLong));
    logprobs.push_back(vector_to_tensor<float>(sequence.logprobs, at::kFloat));
    reasons.emplace_back(sequence.stop_reason == StopReason::kStop ? "stop" : "length");
  }
  return result;
}

auto Script<SampleBatch>::from(const SampleBatch& batch) -> type {
  TensorDict dict;
  add_sequences(batch, dict);
  add_cache_hits(batch, dict);
  const bool topk = batch.options.topk_prompt_logprobs > 0;
  if (batch.options.prompt_logprobs || topk) add_prompt_logprobs(batch, dict);
  if (topk) add_topk(batch, dict);
  return dict;
}

auto Script<LogprobsBatch>::from(const LogprobsBatch& batch) -> type {
  std::vector<const std::vector<float>*> parts;
  for (const std::vector<float>& row : batch.rows) parts.push_back(&row);
  Ragged joined = join<float>(parts, at::kFloat);
  return {std::move(joined.values), std::move(joined.offsets)};
}

auto Script<std::vector<float>>::from(const std::vector<float>& values) -> type {
  return vector_to_tensor<float>(values, at::kFloat);
}

NamedTensorLists to_named_lists(const TensorListDict& dict) {
  NamedTensorLists lists;
  lists.reserve(dict.size());
  for (const auto& entry : dict) lists.emplace_back(entry.key(), entry.value().vec());
  return lists;
}

NamedTensorList to_named_list(const TensorDict& dict) {
  NamedTensorList list;
  list.reserve(dict.size());
  for (const auto& entry : dict) list.emplace_back(entry.key(), entry.value());
  return list;
}

}  // namespace tinkex::torch_ext
