#include "torch_ext/seeded_order.h"

#include <limits>
#include <numeric>
#include <utility>

#include "tinkex/base/random.h"

namespace tinkex::torch_ext {
namespace {

using internal::RandomSource;

/// Uniform below `count`: numbers of the last, incomplete round of remainders are drawn again.
std::size_t below(RandomSource& random, std::uint64_t count) {
  constexpr std::uint64_t kLast = std::numeric_limits<std::uint64_t>::max();
  const std::uint64_t incomplete = (kLast % count + 1) % count;
  std::uint64_t drawn = random.next();
  while (drawn > kLast - incomplete) drawn = random.next();
  return static_cast<std::size_t>(drawn % count);
}

}  // namespace

std::vector<std::size_t> seeded_order(std::size_t size, std::uint64_t seed, std::uint64_t epoch) {
  // Mixed one after the other: neighbouring seeds and epochs must not share sequences.
  RandomSource random(RandomSource(RandomSource(seed).next() + epoch).next());
  std::vector<std::size_t> order(size);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t left = size; left > 1; --left) {
    std::swap(order[left - 1], order[below(random, left)]);
  }
  return order;
}

}  // namespace tinkex::torch_ext
