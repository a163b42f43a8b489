#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "tinkex/base/random.h"

namespace tinkex::testing {

/// The chances of a schedule. The same seed gives the same throws, on every machine.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) { (void)random_.next(); }

  /// From `low` to `high`, both possible.
  int between(int low, int high) {
    return low + static_cast<int>(random_.next() % static_cast<std::uint64_t>(high - low + 1));
  }
  /// True once in `times`.
  bool once_in(int times) { return between(1, times) == 1; }
  std::size_t index(std::size_t size) { return static_cast<std::size_t>(random_.next() % size); }
  template <class T>
  const T& one_of(const std::vector<T>& choices) {
    return choices[index(choices.size())];
  }
  std::uint64_t seed() { return random_.next(); }

 private:
  internal::RandomSource random_;
};

}  // namespace tinkex::testing
