#pragma once

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "tinkex/async/timer_service.h"
#include "tinkex/base/mutex.h"
#include "tinkex/clock.h"

namespace tinkex::torch_ext::local {

/// Time that moves only when told, and timers on it.
class ManualTime final : public Clock, public internal::TimerService {
 public:
  time_point now() const noexcept override {
    internal::MutexLock lock(mutex_);
    return now_;
  }

  TimerId schedule(time_point when, Callback callback) noexcept override {
    internal::MutexLock lock(mutex_);
    timers_.emplace(++last_id_, std::pair(when, std::move(callback)));
    return last_id_;
  }

  void cancel(TimerId id) noexcept override {
    internal::MutexLock lock(mutex_);
    timers_.erase(id);
  }

  /// Moves on and runs what is due, here.
  void advance(duration by) {
    std::vector<Callback> due;
    internal::MutexLock lock(mutex_);
    now_ += by;
    for (auto timer = timers_.begin(); timer != timers_.end();) {
      if (timer->second.first > now_) {
        ++timer;
        continue;
      }
      due.push_back(std::move(timer->second.second));
      timer = timers_.erase(timer);
    }
    lock.unlock();
    for (const Callback& callback : due) callback();
  }

  std::size_t waiting() const {
    internal::MutexLock lock(mutex_);
    return timers_.size();
  }

 private:
  mutable internal::Mutex mutex_;
  time_point now_{};
  TimerId last_id_ = 0;
  std::map<TimerId, std::pair<time_point, Callback>> timers_;
};

}  // namespace tinkex::torch_ext::local
