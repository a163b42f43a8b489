#include "torch_ext/ops/remote_op.h"

#include <ATen/core/dispatch/Dispatcher.h>

namespace tinkex::torch_ext {
namespace {

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

void refuse_to_trace(const c10::OperatorHandle& op, torch::jit::Stack*) {
  throw_error(invalid_argument(
      op.schema().name() +
      " was called with tensors that hold no data (meta or fake tensors). A remote "
      "operation cannot be traced: keep it out of torch.compile(fullgraph=True) "
      "and torch.export, or wrap its caller in torch.compiler.disable"));
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
