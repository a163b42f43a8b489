#pragma once

#include <chrono>

namespace tinkex {

/// Where the library reads the time, so that tests can move it by hand.
/// Thread-safe: now() may be called from any thread.
class Clock {
 public:
  using time_point = std::chrono::steady_clock::time_point;
  using duration = std::chrono::steady_clock::duration;

  virtual ~Clock() = default;
  /// Monotonic time; its epoch means nothing.
  virtual time_point now() const noexcept = 0;
};

/// The real monotonic clock.
class SteadyClock final : public Clock {
 public:
  time_point now() const noexcept override { return std::chrono::steady_clock::now(); }
};

/// `now + wait`, or the end of time where that cannot be represented: `hours::max()` means for
/// ever.
template <class Rep, class Period>
Clock::time_point deadline_after(Clock::time_point now, std::chrono::duration<Rep, Period> wait) {
  using Seconds = std::chrono::duration<double>;
  if (Seconds(wait) >= Seconds(Clock::time_point::max() - now)) return Clock::time_point::max();
  return wait <= wait.zero() ? now : now + std::chrono::duration_cast<Clock::duration>(wait);
}

}  // namespace tinkex
