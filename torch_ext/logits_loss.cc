#include "torch_ext/logits_loss.h"

#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/module.h>

#include <utility>
#include <variant>

namespace tinkex::torch_ext {
namespace {

constexpr std::size_t kFewestArguments = 3;  ///< self, logits, inputs

c10::IValue value_of(const LossConfigValue& setting) {
  return std::visit([](const auto& value) { return c10::IValue(value); }, setting);
}

at::Tensor call(const torch::jit::Module& module, const at::Tensor& logits,
                const LossInputs& inputs) {
  c10::Dict<std::string, at::Tensor> named;
  for (const auto& [name, tensor] : inputs.tensors) named.insert(name, tensor);
  torch::jit::Kwargs settings;
  for (const auto& [name, setting] : inputs.settings) settings.emplace(name, value_of(setting));
  const c10::IValue loss = module.get_method("forward")({logits, named}, settings);
  if (!loss.isTensor()) {
    throw invalid_argument("forward returned a " + loss.tagKind() + ", expected a Tensor");
  }
  return loss.toTensor();
}

}  // namespace

const at::Tensor& LossInputs::operator[](std::string_view name) const {
  const auto found = tensors.find(name);
  if (found != tensors.end()) return found->second;
  std::string names;
  for (const auto& [each, tensor] : tensors) names += (names.empty() ? "" : ", ") + each;
  throw invalid_argument("there is no input '" + std::string(name) + "'; the datum has " + names);
}

Result<LogitsLoss> module_loss(torch::jit::Module module) {
  const auto forward = module.find_method("forward");
  if (!forward || forward->num_inputs() < kFewestArguments) {
    return invalid_argument(
        "module: " + std::string(forward ? "its forward takes too few arguments" : "no forward") +
        ", expected forward(self, logits: Tensor, inputs: Dict[str, Tensor]) -> Tensor");
  }
  return LogitsLoss(
      [module = std::move(module)](const at::Tensor& logits, const LossInputs& inputs) {
        return call(module, logits, inputs);
      });
}

}  // namespace tinkex::torch_ext
