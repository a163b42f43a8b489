#include "tinkex/base/call_depth.h"

#include <deque>

namespace tinkex::internal {
namespace {

std::deque<std::function<void()>>& waiting_calls() {
  static thread_local std::deque<std::function<void()>> calls;
  return calls;
}

}  // namespace

void CallDepth::defer(std::function<void()> call) {
  waiting_calls().push_back(std::move(call));
  deferred_ = true;
}

void CallDepth::run_deferred() {
  auto& calls = waiting_calls();
  while (!calls.empty()) {
    const std::function<void()> call = std::move(calls.front());
    calls.pop_front();
    call();
  }
  deferred_ = false;
}

}  // namespace tinkex::internal
