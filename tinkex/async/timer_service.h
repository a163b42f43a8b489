#pragma once

#include <cstdint>
#include <functional>

#include "tinkex/clock.h"

namespace tinkex::internal {

/// Calls back at a time of the injected clock. Thread-safe; takes no lock on the caller's side.
class TimerService {
 public:
  using TimerId = std::uint64_t;
  using Callback = std::function<void()>;

  virtual ~TimerService() = default;

  /// `callback` runs once on the service's own thread, not before `when`, and must return quickly:
  /// it only hands work to the executor. When the service shuts down every callback that is still
  /// waiting runs at once, and so does one scheduled later, in the calling thread: whoever waits
  /// must wake up to learn that the client is closed.
  virtual TimerId schedule(Clock::time_point when, Callback callback) noexcept = 0;

  /// Afterwards the callback runs only if it was running already. Unknown ids are ignored.
  virtual void cancel(TimerId id) noexcept = 0;
};

}  // namespace tinkex::internal
