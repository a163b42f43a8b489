#pragma once

#include <cstddef>
#include <functional>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// Calls body(piece, lane) for the pieces 0 to `pieces` - 1, which begin in this order, each on the
/// next of `lanes` threads that is free: this one, lane 0, and others of their own, fewer where the
/// system refuses some. Waits for all. Several lanes compute without ATen's own threads; a single
/// one uses them if `threads_for_one`. Grad mode is off.
///
/// Once a piece has failed no lane takes another one; those that were taken by then are done.
/// Returns the error of the first one in their order that has failed: the same, whatever the number
/// of lanes. What a body throws becomes its error.
Status run_lanes(std::size_t lanes, bool threads_for_one, std::size_t pieces,
                 const std::function<Status(std::size_t piece, std::size_t lane)>& body);

}  // namespace tinkex::torch_ext::local
