#include "tinkex/async/poll_gate.h"

#include <utility>

namespace tinkex::internal {

void PollGate::enter(Turn turn) {
  {
    MutexLock lock(mutex_);
    if (inside_ >= limit_) {
      waiting_.push_back(std::move(turn));
      return;
    }
    ++inside_;
  }
  turn();
}

void PollGate::leave() {
  Turn next;
  {
    MutexLock lock(mutex_);
    if (waiting_.empty()) {
      --inside_;
      return;
    }
    next = std::move(waiting_.front());
    waiting_.pop_front();
  }
  run_on(executor_.get(), std::move(next));
}

}  // namespace tinkex::internal
