#include "tinkex/async/poll_gate.h"

#include <utility>
#include <vector>

namespace tinkex::internal {

bool PollGate::admits(std::size_t weight) const {
  return inside_ == 0 || (weight <= limit_ && inside_ <= limit_ - weight);
}

void PollGate::enter(Turn turn, std::size_t weight) {
  MutexLock lock(mutex_);
  if (waiting_.empty() && admits(weight)) {
    inside_ += weight;
    lock.unlock();
    return turn();
  }
  waiting_.emplace_back(std::move(turn), weight);
  const std::function<void()> tell = std::exchange(on_full_, nullptr);
  lock.unlock();
  if (tell) tell();
}

void PollGate::leave(std::size_t weight) {
  std::vector<Turn> next;
  {
    MutexLock lock(mutex_);
    inside_ -= weight;
    while (!waiting_.empty() && admits(waiting_.front().second)) {
      inside_ += waiting_.front().second;
      next.push_back(std::move(waiting_.front().first));
      waiting_.pop_front();
    }
  }
  for (Turn& turn : next) run_on(executor_.get(), std::move(turn));
}

}  // namespace tinkex::internal
