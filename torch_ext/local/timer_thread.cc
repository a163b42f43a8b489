#include "torch_ext/local/timer_thread.h"

#include <utility>

namespace tinkex::torch_ext::local {

TimerThread::TimerThread() : thread_([this] { loop(); }) {}

TimerThread::~TimerThread() {
  {
    internal::MutexLock lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

TimerThread::TimerId TimerThread::schedule(Clock::time_point when, Callback callback) noexcept {
  internal::MutexLock lock(mutex_);
  const TimerId id = ++last_id_;
  if (stopped_) {
    lock.unlock();
    callback();
    return id;
  }
  const auto place = queue_.emplace(when, std::pair(id, std::move(callback)));
  by_id_.emplace(id, place);
  if (place == queue_.begin()) changed_.notify_all();
  return id;
}

void TimerThread::cancel(TimerId id) noexcept {
  Callback dropped;  // Destroyed after the lock: what it captures may call back.
  internal::MutexLock lock(mutex_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  dropped = std::move(found->second->second.second);
  queue_.erase(found->second);
  by_id_.erase(found);
  lock.unlock();
}

void TimerThread::loop() {
  internal::MutexLock lock(mutex_);
  while (!(stopped_ && queue_.empty())) {
    if (queue_.empty()) {
      changed_.wait(mutex_);
      continue;
    }
    const auto first = queue_.begin();
    if (!stopped_ && first->first > std::chrono::steady_clock::now()) {
      const Clock::time_point when = first->first;
      changed_.wait_until(mutex_, when);
      continue;
    }
    auto [id, callback] = std::move(first->second);
    queue_.erase(first);
    by_id_.erase(id);
    lock.unlock();
    callback();
    callback = nullptr;
    lock.lock();
  }
}

}  // namespace tinkex::torch_ext::local
