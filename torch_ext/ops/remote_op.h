#pragma once

// One function that starts a remote call -> the three forms of its op.

#include <ATen/core/stack.h>
#include <torch/library.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "torch_ext/ops/future_handle.h"

namespace tinkex::torch_ext {

/// `future`, of a call to the client. What the client has refused before anything was sent is
/// thrown here, so that no form of an op, and nobody who drops its handle, misses it.
template <class T>
Future<T> unless_refused(Future<T> future) {
  if (!future.ready()) return future;
  const Result<T>& result = future.cell()->result();
  if (!result && result.error().code() == ErrorCode::kInvalidArgument) throw_error(result.error());
  return future;
}

/// What keeps the service of an op's first argument open; null if that has none.
template <class First, class... Rest>
std::shared_ptr<const void> lease_of(const First& first, const Rest&...) {
  if constexpr (requires { first->lease(); }) {
    return first->lease();
  } else {
    return nullptr;
  }
}

/// `start` is a function that checks and converts its arguments, sends, and returns a Future<T>. It
/// runs in the caller's thread; its tensors are not touched after it has returned.
template <auto start, class Function = decltype(start)>
struct RemoteOp;

template <auto start, class T, class... Args>
struct RemoteOp<start, Future<T> (*)(Args...)> {
  using Output = typename Script<T>::type;

  // What sends may wait, too: for room in the queue.

  static Output blocking(Args... args) {
    return Script<T>::from(value_or_throw(result_of(std::forward<Args>(args)...)));
  }

  static c10::intrusive_ptr<Pending<T>> async(Args... args) {
    const WaitPass pass;
    return c10::make_intrusive<Pending<T>>(started(std::forward<Args>(args)...));
  }

  /// Boxed by hand: LibTorch aborts on an unboxed kernel that returns a Future.
  static void future(const c10::OperatorHandle&, torch::jit::Stack* stack) {
    auto result = from_stack(*stack, std::index_sequence_for<Args...>());
    torch::jit::drop(*stack, sizeof...(Args));
    torch::jit::push(*stack, std::move(result));
  }

 private:
  static Result<T> result_of(Args... args) {
    const WaitPass pass;
    return started(std::forward<Args>(args)...).get();
  }

  /// Keeps the service until the call is settled: its end would end the call, and who has dropped
  /// the client, and perhaps the handle, has not asked for that.
  static Future<T> started(Args... args) {
    std::shared_ptr<const void> lease = lease_of(args...);
    Future<T> future = start(std::forward<Args>(args)...);
    if (lease) future.cell()->on_ready([lease = std::move(lease)](auto&) {});
    return future;
  }

  template <std::size_t... I>
  static auto from_stack(torch::jit::Stack& stack, std::index_sequence<I...>) {
    const WaitPass pass;
    return to_ivalue_future(
        started(torch::jit::peek(stack, I, sizeof...(I)).template to<std::decay_t<Args>>()...));
  }
};

/// Registers the kernels of `name`, `name_async` and `name_future`.
template <auto start>
void register_forms(torch::Library& library, const std::string& name) {
  using Op = RemoteOp<start>;
  library.impl(name.c_str(), TORCH_FN(Op::blocking));
  library.impl((name + "_async").c_str(), TORCH_FN(Op::async));
  library.impl((name + "_future").c_str(),
               torch::CppFunction::makeFromBoxedFunction<&Op::future>());
}

/// The Meta kernel of ops that take tensors: throws before anything is sent. Without it LibTorch
/// would run the real kernel on the stand-ins that torch.compile and torch.export trace with.
void refuse_to_trace(const c10::OperatorHandle& op, torch::jit::Stack* stack);

/// Registers `refuse_to_trace` as the kernel of one op, and of the three forms.
void refuse_meta(torch::Library& library, const std::string& op);
void refuse_meta_forms(torch::Library& library, const std::string& name);

/// Registers kernels that refuse nested tensors, and those of functorch, for whose keys `library`
/// is.
void refuse_nested(torch::Library& library, const std::string& op);
void refuse_batched(torch::Library& library, const std::string& op);

}  // namespace tinkex::torch_ext
