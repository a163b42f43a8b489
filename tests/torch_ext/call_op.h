#pragma once

// Calls of registered ops through the dispatcher, as scripts make them.

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <iterator>
#include <string>
#include <utility>
#include <vector>

namespace tinkex::torch_ext {

/// Calls an op with the given arguments and the schema's defaults for the rest. Several results
/// come as a tuple.
inline c10::IValue call(const std::string& name, std::vector<c10::IValue> arguments) {
  const c10::OperatorHandle op =
      c10::Dispatcher::singleton().findSchemaOrThrow(("tinkex::" + name).c_str(), "");
  const auto& parameters = op.schema().arguments();
  for (std::size_t i = arguments.size(); i < parameters.size(); ++i) {
    arguments.push_back(parameters[i].default_value().value());
  }
  torch::jit::Stack stack(std::make_move_iterator(arguments.begin()),
                          std::make_move_iterator(arguments.end()));
  op.callBoxed(stack);
  if (stack.size() > 1) return c10::ivalue::Tuple::create(std::move(stack));
  return stack.empty() ? c10::IValue() : stack.front();
}

/// Calls a method of a class.
inline c10::IValue method(const c10::IValue& object, const std::string& name,
                          std::vector<c10::IValue> arguments = {}) {
  arguments.insert(arguments.begin(), object);
  return object.toObject()->type()->getMethod(name)(std::move(arguments));
}

/// The text of the exception that `body` throws, and whether it is a ValueError.
struct Thrown {
  std::string text = "nothing was thrown";
  bool value_error = false;
};
template <class Body>
Thrown thrown_by(Body body) {
  try {
    body();
  } catch (const c10::ValueError& error) {
    return {error.what_without_backtrace(), true};
  } catch (const c10::Error& error) {
    return {error.what_without_backtrace(), false};
  } catch (const std::exception& error) {
    return {std::string("foreign exception: ") + error.what(), false};
  }
  return {};
}

inline at::Tensor tokens_of(std::vector<std::int64_t> ids) { return at::tensor(ids, at::kLong); }
inline c10::IValue tensor_list(std::vector<at::Tensor> tensors) {
  return c10::IValue(std::move(tensors));
}

}  // namespace tinkex::torch_ext
