#pragma once

#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

namespace sft {

/// Random choices that are the same everywhere for the same numbers (std::shuffle and the
/// distributions of <random> are not).
class Dice {
 public:
  /// `stream` separates uses of one seed, such as steps.
  Dice(std::int64_t seed, std::int64_t stream) {
    std::seed_seq mixed{low(seed), high(seed), low(stream), high(stream)};
    engine_.seed(mixed);
  }

  /// From 0 to count - 1.
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(engine_() % count); }

  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[below(from.size())];
  }

  template <class T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t left = values.size(); left > 1; --left) {
      std::swap(values[left - 1], values[below(left)]);
    }
  }

 private:
  static std::uint32_t low(std::int64_t value) { return static_cast<std::uint32_t>(value); }
  static std::uint32_t high(std::int64_t value) { return static_cast<std::uint32_t>(value >> 32); }

  std::mt19937_64 engine_;
};

}  // namespace sft
