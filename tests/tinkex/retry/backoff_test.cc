#include "tinkex/retry/backoff.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <limits>

namespace tinkex::internal {
namespace {

using std::chrono::milliseconds;

TEST(BackoffTest, DoublesUpToItsMaximumWithAtMostAQuarterOff) {
  RandomSource random(1);
  std::int64_t full = 500;
  for (int n = 0; n < 12; ++n) {
    const std::int64_t capped = std::min<std::int64_t>(full, 10'000);
    for (int draw = 0; draw < 200; ++draw) {
      const auto delay = backoff_delay(n, milliseconds(500), milliseconds(10'000), random).count();
      EXPECT_LE(delay, capped) << n;
      EXPECT_GE(delay, capped * 3 / 4) << n;
    }
    full *= 2;
  }
}

TEST(BackoffTest, ClientsThatFailTogetherComeBackApart) {
  RandomSource random(1);
  const auto first = backoff_delay(5, milliseconds(500), milliseconds(10'000), random);
  bool differs = false;
  for (int i = 0; i < 10; ++i) {
    differs |= backoff_delay(5, milliseconds(500), milliseconds(10'000), random) != first;
  }
  EXPECT_TRUE(differs);
}

TEST(BackoffTest, TheSameSeedGivesTheSameDelays) {
  RandomSource a(9);
  RandomSource b(9);
  for (int n = 0; n < 20; ++n) {
    EXPECT_EQ(backoff_delay(n, milliseconds(500), milliseconds(10'000), a),
              backoff_delay(n, milliseconds(500), milliseconds(10'000), b));
  }
}

TEST(BackoffTest, Property_AnyCountStaysWithinItsMaximum) {
  ASSERT_TRUE(rc::check([](int n, std::uint64_t seed) {
    RandomSource random(seed);
    const auto max = milliseconds(*rc::gen::inRange<std::int64_t>(0, 10'000'000));
    const auto initial = milliseconds(*rc::gen::inRange<std::int64_t>(0, 1'000'000));
    const auto delay = backoff_delay(n, initial, max, random);
    RC_ASSERT(delay >= milliseconds(0));
    RC_ASSERT(delay <= max);
  }));
  RandomSource random(0);
  EXPECT_LE(backoff_delay(std::numeric_limits<int>::max(), milliseconds(500), milliseconds(10'000),
                          random),
            milliseconds(10'000));
}

}  // namespace
}  // namespace tinkex::internal
