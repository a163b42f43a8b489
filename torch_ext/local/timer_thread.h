#pragma once

#include <map>
#include <thread>
#include <unordered_map>

#include "tinkex/async/timer_service.h"
#include "tinkex/base/mutex.h"

namespace tinkex::torch_ext::local {

/// Timers of the real clock on one thread; none is held per long poll. Takes a short lock.
class TimerThread final : public internal::TimerService {
 public:
  TimerThread();
  /// Runs the callbacks that still wait, then joins.
  ~TimerThread() override;

  TimerId schedule(Clock::time_point when, Callback callback) noexcept override;
  void cancel(TimerId id) noexcept override;

 private:
  using Queue = std::multimap<Clock::time_point, std::pair<TimerId, Callback>>;

  void loop();

  internal::Mutex mutex_;
  internal::CondVar changed_;
  Queue queue_ TINKEX_GUARDED_BY(mutex_);
  std::unordered_map<TimerId, Queue::iterator> by_id_ TINKEX_GUARDED_BY(mutex_);
  TimerId last_id_ TINKEX_GUARDED_BY(mutex_) = 0;
  bool stopped_ TINKEX_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tinkex::torch_ext::local
