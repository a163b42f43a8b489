#pragma once

#include <atomic>
#include <cstdint>
#include <random>

namespace tinkex::internal {

/// Random numbers for jitter, not for cryptography. The same seed gives the same sequence.
/// Thread-safe and lock-free: each call takes the next point of a counter (SplitMix64), so threads
/// that share a source share one sequence without repeats.
class RandomSource {
 public:
  explicit RandomSource(std::uint64_t seed) : counter_(seed) {}
  /// Seeded by the operating system.
  RandomSource()
      : RandomSource((std::uint64_t{std::random_device{}()} << 32) ^ std::random_device{}()) {}

  /// All 64 bits are uniform.
  std::uint64_t next() noexcept {
    constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;
    std::uint64_t z = counter_.fetch_add(kStep, std::memory_order_relaxed) + kStep;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  /// Uniform in [0, 1).
  double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::atomic<std::uint64_t> counter_;
};

}  // namespace tinkex::internal
