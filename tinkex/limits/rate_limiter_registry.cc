#include "tinkex/limits/rate_limiter_registry.h"

#include <algorithm>
#include <utility>

namespace tinkex {

using internal::LimiterKey;
using internal::MutexLock;
using internal::RateLimiter;

RateLimiterRegistry::RateLimiterRegistry(std::shared_ptr<const Clock> clock)
    : clock_(clock ? std::move(clock) : std::make_shared<SteadyClock>()) {}

std::shared_ptr<RateLimiter> RateLimiterRegistry::get(const LimiterKey& key) {
  // The map uses the low bits of the hash, so the shard is chosen by the high ones.
  Shard& shard = shards_[(key.hash() >> 48) % kShards];
  MutexLock lock(shard.mutex);
  if (shard.limiters.size() >= shard.sweep_at) sweep(shard, clock_->now());
  std::shared_ptr<RateLimiter>& limiter = shard.limiters.try_emplace(key).first->second;
  if (!limiter) limiter = std::make_shared<RateLimiter>();
  return limiter;
}

void RateLimiterRegistry::sweep(Shard& shard, Clock::time_point now) {
  // A count of 1 cannot rise behind our back: only this map could hand out another pointer, and its
  // lock is held.
  std::erase_if(shard.limiters, [now](const auto& entry) {
    return !entry.second || (entry.second.use_count() == 1 && entry.second->is_open(now));
  });
  shard.sweep_at = std::max(kFirstSweep, 2 * shard.limiters.size());
}

std::size_t RateLimiterRegistry::size() const {
  std::size_t total = 0;
  for (const Shard& shard : shards_) {
    MutexLock lock(shard.mutex);
    total += shard.limiters.size();
  }
  return total;
}

const std::shared_ptr<RateLimiterRegistry>& RateLimiterRegistry::process_wide() {
  // Never destroyed: clients in other static objects may outlive any order of destruction.
  static const auto* const registry =
      new std::shared_ptr<RateLimiterRegistry>(std::make_shared<RateLimiterRegistry>());
  return *registry;
}

}  // namespace tinkex
