#include "tinkex/mocks/scripted_reply.h"

namespace tinkex::mocks {

void Gate::open() {
  std::vector<std::function<void()>> actions;
  {
    internal::MutexLock lock(mutex_);
    open_ = true;
    actions.swap(waiting_);
  }
  for (const auto& action : actions) action();
}

bool Gate::is_open() const {
  internal::MutexLock lock(mutex_);
  return open_;
}

void Gate::when_open(std::function<void()> action) {
  {
    internal::MutexLock lock(mutex_);
    if (!open_) {
      waiting_.push_back(std::move(action));
      return;
    }
  }
  action();
}

}  // namespace tinkex::mocks
