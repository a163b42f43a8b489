#pragma once

#include <memory>
#include <utility>

#include "tinkex/executor.h"
#include "tinkex/future.h"

namespace tinkex::internal {

/// The only way in which the library starts background work (C1): runs `fn` on `executor`, or here
/// if that has shut down, and settles `cell` with the error if anything at all is thrown. `fn`
/// returns nothing; it settles `cell` itself, now or later.
template <class T, class Fn>
void spawn_guarded(Executor& executor, std::shared_ptr<ResultCell<T>> cell, Fn fn) noexcept {
  run_on(&executor, [cell = std::move(cell), fn = std::move(fn)]() mutable {
    try {
      fn();
    } catch (...) {
      cell->set(error_from_current_exception());
    }
  });
}

}  // namespace tinkex::internal
