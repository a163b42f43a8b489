#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"

namespace tinkex::torch_ext::local::testing {

/// The same transformer written the plain way: one sequence at a time, one ATen call per formula,
/// whole logits, gradients by autograd. It shares no arithmetic with the engine.
class ReferenceModel {
 public:
  ReferenceModel(ModelConfig config, Weights weights, const LoraLayout& layout)
      : config_(std::move(config)), weights_(std::move(weights)), layout_(layout) {}

  /// Log-probabilities (length, vocab) after each of `tokens`; differentiable in `flat`, the LoRA
  /// matrices in the order of the layout.
  at::Tensor logprobs(const at::Tensor& flat, const std::vector<std::int64_t>& tokens) const;

 private:
  at::Tensor linear(const at::Tensor& x, const at::Tensor& flat, const std::string& module) const;
  at::Tensor norm(const at::Tensor& x, const std::string& name) const;
  at::Tensor rotate(const at::Tensor& x) const;
  at::Tensor attention(const at::Tensor& x, const at::Tensor& flat, const std::string& layer) const;
  at::Tensor mlp(const at::Tensor& x, const at::Tensor& flat, const std::string& layer) const;

  ModelConfig config_;
  Weights weights_;
  const LoraLayout& layout_;
};

/// Loss of a batch by autograd over ReferenceModel, and its gradient.
struct ReferenceResult {
  std::vector<std::vector<float>> logprobs;
  double loss = 0;
  at::Tensor gradient;
};
ReferenceResult reference_pass(const ReferenceModel& model, const at::Tensor& flat,
                               const std::vector<Datum>& data, const std::string& loss);

}  // namespace tinkex::torch_ext::local::testing
