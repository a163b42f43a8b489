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

namespace tinkex::torch_ext {

using TensorDict = c10::Dict<std::string, at::Tensor>;
using TensorListDict = c10::Dict<std::string, c10::List<at::Tensor>>;

/// `Script<T>::type` is T for scripts; `Script<T>::from` makes one, throwing what error_bridge.h
/// says. It makes tensors that nobody else refers to.
template <class T>
struct Script;

/// (outputs: name -> one tensor per datum, metrics)
template <>
struct Script<ForwardBackwardOutput> {
  using type = std::tuple<TensorListDict, TensorDict>;
  static type from(const ForwardBackwardOutput& output);
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

/// The other direction: the lists of a dictionary argument. The tensors are shared, not copied.
NamedTensorLists to_named_lists(const TensorListDict& dict);

}  // namespace tinkex::torch_ext
