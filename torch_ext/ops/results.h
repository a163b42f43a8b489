#pragma once

// What the results of the library look like in scripts and in Python.

#include <ATen/core/Dict.h>
#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tinkex/outputs.h"
#include "torch_ext/datum_convert.h"
#include "torch_ext/ops/client_classes.h"
#include "torch_ext/ragged.h"

namespace tinkex::torch_ext {

using TensorDict = c10::Dict<std::string, at::Tensor>;
using TensorListDict = c10::Dict<std::string, c10::List<at::Tensor>>;

/// Float64 tensors without dimensions.
TensorDict to_tensor_dict(const Metrics& metrics);

/// `Script<T>::type` is T for scripts; `Script<T>::from` makes one, throwing what error_bridge.h
/// says. It makes tensors that nobody else refers to; those of a list are slices of one storage.
template <class T>
struct Script;

/// (outputs: name -> one tensor per datum, metrics)
template <>
struct Script<ForwardBackwardOutput> {
  using type = std::tuple<TensorListDict, TensorDict>;
  static type from(const ForwardBackwardOutput& output);
};

/// The same result, with the rows of all datums one after another.
struct RaggedOutput {
  ForwardBackwardOutput output;
};
/// (values: name -> [rows, ...], offsets: name -> int64 [datums + 1], metrics)
template <>
struct Script<RaggedOutput> {
  using type = std::tuple<TensorDict, TensorDict, TensorDict>;
  static type from(const RaggedOutput& output);
};

/// Metrics.
template <>
struct Script<OptimStepResponse> {
  using type = TensorDict;
  static type from(const OptimStepResponse& response);
};

/// (tokens, int64; logprobs, float32, empty where the server sent none; "stop" or "length") with
/// one entry per sample.
template <>
struct Script<SampleResponse> {
  using type =
      std::tuple<std::vector<at::Tensor>, std::vector<at::Tensor>, std::vector<std::string>>;
  static type from(const SampleResponse& response);
};

/// The samples of several prompts, `num_samples` of each, in order.
struct SampleBatch {
  std::vector<SampleResponse> responses;
  std::int64_t num_samples = 0;
  SampleOptions options;
};
/// Sequence s is `tokens[offsets[s]:offsets[s + 1]]`; it continues prompt s / num_samples.
///   tokens (int64), logprobs (float32, NaN where the server sent none): [tokens of all sequences]
///   offsets (int64): [sequences + 1]; stopped (bool, false where the length ended it): [sequences]
///   prompt_cache_hit_tokens (int64): [prompts]
/// With prompt_logprobs or topk_prompt_logprobs = k, where prompt p has the positions
/// prompt_offsets[p] to prompt_offsets[p + 1]:
///   prompt_logprobs (float32, NaN for the first token of a prompt): [tokens of all prompts]
///   prompt_offsets (int64): [prompts + 1]
///   topk_tokens (int64, -1 where there is none), topk_logprobs (float32, NaN there):
///   [tokens of all prompts, k, or fewer if no token has so many]
template <>
struct Script<SampleBatch> {
  using type = TensorDict;
  static type from(const SampleBatch& batch);
};

/// One list of logprobs per prompt.
struct LogprobsBatch {
  std::vector<std::vector<float>> rows;
};
/// (values, float32; offsets, int64)
template <>
struct Script<LogprobsBatch> {
  using type = std::tuple<at::Tensor, at::Tensor>;
  static type from(const LogprobsBatch& batch);
};

/// 1-D float32.
template <>
struct Script<std::vector<float>> {
  using type = at::Tensor;
  static type from(const std::vector<float>& values);
};

template <>
struct Script<std::string> {
  using type = std::string;
  static type from(const std::string& text) { return text; }
};

/// Nothing.
template <>
struct Script<Unit> {
  using type = void;
  static void from(Unit /*nothing*/) {}
};

/// A sampling client with what keeps its service open.
struct LeasedSampler {
  SamplingClient client;
  std::shared_ptr<const void> lease;
};
template <>
struct Script<LeasedSampler> {
  using type = SamplingPtr;
  static type from(const LeasedSampler& sampler) {
    return c10::make_intrusive<ScriptSamplingClient>(sampler.client, sampler.lease);
  }
};

/// A training client with what keeps its service open, and the service's limits.
struct LeasedTrainer {
  TrainingClient client;
  std::shared_ptr<const void> lease;
  ChunkLimits limits;
};
template <>
struct Script<LeasedTrainer> {
  using type = TrainingPtr;
  static type from(const LeasedTrainer& trainer) {
    return c10::make_intrusive<ScriptTrainingClient>(trainer.client, trainer.lease, trainer.limits);
  }
};

/// The other direction: the lists of a dictionary argument. The tensors are shared, not copied.
NamedTensorLists to_named_lists(const TensorListDict& dict);
NamedTensorList to_named_list(const TensorDict& dict);

}  // namespace tinkex::torch_ext
