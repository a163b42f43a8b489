#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "tinkex/clock.h"

namespace tinkex::internal {

/// The back-off window of one {server, key}: no request may start before `until()`.
///
/// Lock-free. The window only ever grows: concurrent extensions keep the later end, a short one
/// never shortens a long one, and a success clears nothing; it expires. Whoever waits for it must
/// look again after waking, for it may have grown meanwhile.
class RateLimiter {
 public:
  /// Moves the end of the window to `when` unless it is later already.
  void extend_until(Clock::time_point when) noexcept;
  /// Moves it to `now + delay`, or to the end of time if that cannot be represented. A delay that
  /// is not positive changes nothing.
  void extend_by(Clock::time_point now, std::chrono::milliseconds delay) noexcept;

  /// The earliest time at which a request may start; time_point::min() if nothing ever set it.
  Clock::time_point until() const noexcept;
  bool is_open(Clock::time_point now) const noexcept { return now >= until(); }

 private:
  using Nanos = std::chrono::nanoseconds;

  // Relaxed everywhere: the number is the whole message, no other memory is published through it.
  std::atomic<std::int64_t> until_ns_{Nanos::min().count()};
  static_assert(std::atomic<std::int64_t>::is_always_lock_free);
};

}  // namespace tinkex::internal
