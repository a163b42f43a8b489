#pragma once

// tinkex::Error -> the exceptions that LibTorch, TorchScript and Python understand.
//
// The text always begins with `tinkex: [code] `, also where PyTorch replaces the type (TorchScript,
// class methods in callbacks): this prefix is what programs may rely on.

#include <exception>
#include <utility>

#include "tinkex/error.h"

namespace tinkex::torch_ext {

/// kInvalidArgument as c10::ValueError (Python: ValueError), any other as c10::Error
/// (RuntimeError). No backtrace is taken.
std::exception_ptr to_exception(const Error& error);

/// Throws what `to_exception` makes. For kernels and class methods, which LibTorch calls and
/// guards.
[[noreturn]] void throw_error(const Error& error);

/// The value, or a throw.
template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw_error(result.error());
  return std::move(*result);
}

}  // namespace tinkex::torch_ext
