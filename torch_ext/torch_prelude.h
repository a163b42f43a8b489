#pragma once

// The one place that orders LibTorch's headers and hides what differs between its versions.

#include <ATen/core/ivalue.h>  // First: clang with C++20 rejects other orders before LibTorch 2.0.
#include <torch/version.h>

#include <optional>

namespace tinkex::torch_ext {

/// What an optional argument of an op is in C++: `c10::optional` was a type of its own until 2.4.
#if TORCH_VERSION_MAJOR < 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 4)
template <class T>
using Optional = c10::optional<T>;
#else
template <class T>
using Optional = std::optional<T>;
#endif

}  // namespace tinkex::torch_ext
