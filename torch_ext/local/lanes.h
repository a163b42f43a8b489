#pragma once

#include <cstddef>
#include <functional>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// Runs `body(0)` to `body(count - 1)` side by side, the first on this thread and each other one on
/// a thread of its own, and waits for all. Several lanes compute without ATen's own threads; a
/// single one uses them if `threads_for_one`. Grad mode is off. Returns the error of the first
/// lane that has one; what a body throws becomes its error.
Status run_lanes(std::size_t count, bool threads_for_one,
                 const std::function<Status(std::size_t)>& body);

}  // namespace tinkex::torch_ext::local
