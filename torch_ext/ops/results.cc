#include "torch_ext/ops/results.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "torch_ext/error_bridge.h"
#include "torch_ext/metrics_tensor.h"

namespace tinkex::torch_ext {
namespace {

TensorDict to_dict(const Metrics& metrics) {
  TensorDict dict;
  for (auto& [name, tensor] : metrics_to_tensors(metrics)) dict.insert(name, std::move(tensor));
  return dict;
}

template <class To, class From>
at::Tensor vector_to_tensor(const std::vector<From>& values, at::ScalarType type) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, type);
  std::copy(values.begin(), values.end(), tensor.data_ptr<To>());
  return tensor;
}

}  // namespace

auto Script<ForwardBackwardOutput>::from(const ForwardBackwardOutput& output) -> type {
  TensorListDict outputs;
  for (const auto& [name, list] : value_or_throw(outputs_to_tensors(output.loss_fn_outputs))) {
    outputs.insert(name, c10::List<at::Tensor>(list));
  }
  return {std::move(outputs), to_dict(output.metrics)};
}

auto Script<OptimStepResponse>::from(const OptimStepResponse& response) -> type {
  return to_dict(response.metrics);
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

auto Script<std::vector<float>>::from(const std::vector<float>& values) -> type {
  return vector_to_tensor<float>(values, at::kFloat);
}

NamedTensorLists to_named_lists(const TensorListDict& dict) {
  NamedTensorLists lists;
  lists.reserve(dict.size());
  for (const auto& entry : dict) lists.emplace_back(entry.key(), entry.value().vec());
  return lists;
}

}  // namespace tinkex::torch_ext
