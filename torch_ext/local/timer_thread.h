#pragma once

#include <memory>
#include <thread>

#include "tinkex/async/timer_service.h"

namespace tinkex::torch_ext::local {

/// Timers of the real clock on one thread; none is held per long poll. Takes a short lock.
class TimerThread final : public internal::TimerService {
 public:
  TimerThread();
  /// Runs the callbacks that still wait, then joins. What a callback throws is dropped. A callback
  /// may destroy the last owner: the thread then ends by itself.
  ~TimerThread() override;

  TimerId schedule(Clock::time_point when, Callback callback) noexcept override;
  void cancel(TimerId id) noexcept override;

 private:
  struct State;

  const std::shared_ptr<State> state_;
  std::thread thread_;
};

}  // namespace tinkex::torch_ext::local
