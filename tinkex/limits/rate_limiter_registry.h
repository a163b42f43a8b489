#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <unordered_map>

#include "tinkex/base/mutex.h"
#include "tinkex/clock.h"
#include "tinkex/limits/limiter_key.h"
#include "tinkex/limits/rate_limiter.h"

namespace tinkex {

/// The back-off windows of all {server, key} pairs. Thread-safe. A client asks once, when it is
/// made, and keeps the limiter; after that nothing here is on its path.
///
/// Growth: a limiter that nobody holds and whose window has passed is forgotten when its shard has
/// doubled since the last look, so memory follows the pairs in use. One whose window is still open
/// stays: a client that is closed and made anew finds it again.
class RateLimiterRegistry {
 public:
  /// `clock` tells whether a window has passed: the one that the clients use. Null: the real one.
  explicit RateLimiterRegistry(std::shared_ptr<const Clock> clock = nullptr);

  /// The limiter of that key, made if there is none. Equal keys get the same object.
  std::shared_ptr<internal::RateLimiter> get(const internal::LimiterKey& key);

  /// Limiters remembered now.
  std::size_t size() const;

  /// What every client of this process shares unless its options say otherwise.
  static const std::shared_ptr<RateLimiterRegistry>& process_wide();

 private:
  struct KeyHash {
    std::size_t operator()(const internal::LimiterKey& key) const noexcept { return key.hash(); }
  };
  using Map =
      std::unordered_map<internal::LimiterKey, std::shared_ptr<internal::RateLimiter>, KeyHash>;

  static constexpr std::size_t kShards = 16;
  static constexpr std::size_t kFirstSweep = 64;

  struct Shard {
    mutable internal::Mutex mutex;
    Map limiters TINKEX_GUARDED_BY(mutex);
    std::size_t sweep_at TINKEX_GUARDED_BY(mutex) = kFirstSweep;
  };

  static void sweep(Shard& shard, Clock::time_point now) TINKEX_REQUIRES(shard.mutex);

  const std::shared_ptr<const Clock> clock_;
  std::array<Shard, kShards> shards_;
};

}  // namespace tinkex
