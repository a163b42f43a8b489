#include "torch_ext/ops/remote_op.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <string>
#include <vector>

namespace tinkex::torch_ext {
namespace {

bool has_no_data(const c10::IValue& value) {
  return value.isTensor() && value.toTensor().defined() && value.toTensor().is_meta();
}

/// What errors call the first argument without data, such as "tokens[1]"; "" if none is seen to be.
std::string first_without_data(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  const std::vector<c10::Argument>& arguments = op.schema().arguments();
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const c10::IValue& value = torch::jit::peek(stack, i, arguments.size());
    if (has_no_data(value)) return arguments[i].name();
    if (!value.isTensorList()) continue;
    const c10::List<at::Tensor> list = value.toTensorList();
    for (std::size_t k = 0; k < list.size(); ++k) {
      if (has_no_data(list.get(k))) return arguments[i].name() + "[" + std::to_string(k) + "]";
    }
  }
  return "";
}

void refuse_nested_kernel(const c10::OperatorHandle& op, torch::jit::Stack*) {
  throw_error(invalid_argument(op.schema().name() +
                               " was called with a nested tensor; pass its parts as a list, see "
                               "unbind()"));
}

void refuse_batched_kernel(const c10::OperatorHandle& op, torch::jit::Stack*) {
  throw_error(invalid_argument(op.schema().name() +
                               " was called inside a transform of torch.func, such as vmap, where "
                               "tensors hold no data of their own; call it outside"));
}

}  // namespace

void refuse_to_trace(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const std::string first = first_without_data(op, *stack);
  throw_error(invalid_argument(
      op.schema().name() + " was called with " +
      (first.empty() ? "tensors that hold" : first + ", which holds") +
      " no data (a meta or fake tensor); give a tensor with data. A remote operation cannot be "
      "traced: keep it out of torch.compile(fullgraph=True) and torch.export, or wrap its caller "
      "in torch.compiler.disable"));
}

void refuse_meta(torch::Library& library, const std::string& op) {
  library.impl(op.c_str(), torch::CppFunction::makeFromBoxedFunction<&refuse_to_trace>());
}

void refuse_nested(torch::Library& library, const std::string& op) {
  library.impl(op.c_str(), torch::CppFunction::makeFromBoxedFunction<&refuse_nested_kernel>());
}

void refuse_batched(torch::Library& library, const std::string& op) {
  library.impl(op.c_str(), torch::CppFunction::makeFromBoxedFunction<&refuse_batched_kernel>());
}

void refuse_meta_forms(torch::Library& library, const std::string& name) {
  for (const char* form : {"", "_async", "_future"}) refuse_meta(library, name + form);
}

}  // namespace tinkex::torch_ext
