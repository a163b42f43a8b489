#include "tinkex/base/call_depth.h"

#include <list>
#include <new>
#include <utility>

namespace tinkex::internal {
namespace {

using Calls = std::list<std::function<void()>>;

/// Deferred by the call that runs outermost now; before those that were deferred earlier.
Calls& new_calls() {
  static thread_local Calls calls;
  return calls;
}

}  // namespace

bool CallDepth::defer(std::function<void()> call) noexcept {
  try {
    new_calls().push_back(std::move(call));
  } catch (const std::bad_alloc&) {
    return false;
  }
  waiting_ = true;
  return true;
}

bool CallDepth::newly_waiting() noexcept { return waiting_ && !new_calls().empty(); }

void CallDepth::run_waiting() {
  Calls calls;
  calls.swap(new_calls());
  while (!calls.empty()) {
    calls.front()();
    calls.pop_front();
    calls.splice(calls.begin(), new_calls());
  }
  waiting_ = false;
}

}  // namespace tinkex::internal
