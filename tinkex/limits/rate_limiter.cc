#include "tinkex/limits/rate_limiter.h"

#include <algorithm>

namespace tinkex::internal {

void RateLimiter::extend_until(Clock::time_point when) noexcept {
  const std::int64_t wanted = std::chrono::duration_cast<Nanos>(when.time_since_epoch()).count();
  std::int64_t current = until_ns_.load(std::memory_order_relaxed);
  while (current < wanted &&
         !until_ns_.compare_exchange_weak(current, wanted, std::memory_order_relaxed)) {
  }
}

void RateLimiter::extend_by(Clock::time_point now, std::chrono::milliseconds delay) noexcept {
  if (delay <= std::chrono::milliseconds::zero()) return;
  const auto room = Clock::time_point::max() - std::max(now, Clock::time_point{});
  const bool fits = delay <= std::chrono::duration_cast<std::chrono::milliseconds>(room);
  extend_until(fits ? now + delay : Clock::time_point::max());
}

Clock::time_point RateLimiter::until() const noexcept {
  return Clock::time_point(std::chrono::duration_cast<Clock::duration>(
      Nanos(until_ns_.load(std::memory_order_relaxed))));
}

}  // namespace tinkex::internal
