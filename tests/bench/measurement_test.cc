#include "tests/bench/measurement.h"

#include <gtest/gtest.h>

namespace tinkex::bench {
namespace {

constexpr std::int64_t kMs = 1'000'000;

TEST(MeasurementTest, TheMedianIsTheMiddleValue) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 3);
  EXPECT_EQ(median({}), 0);
}

TEST(MeasurementTest, ABeatIsLateByWhatItsGapIsLongerThanTheInterval) {
  const std::vector<std::int64_t> log{0, 100 * kMs, 230 * kMs, 335 * kMs, 900 * kMs};
  EXPECT_EQ(latest_heartbeat_ms(log, 50 * kMs, 330 * kMs, 100), 30);
  EXPECT_EQ(latest_heartbeat_ms(log, 50 * kMs, 200 * kMs, 100), 30) << "it began to be late";
  EXPECT_EQ(latest_heartbeat_ms(log, 240 * kMs, 330 * kMs, 100), 5);
}

TEST(MeasurementTest, ABeatThatIsOverdueAtTheEndIsLate) {
  EXPECT_EQ(latest_heartbeat_ms({0, 100 * kMs}, 50 * kMs, 1'000 * kMs, 100), 800);
  EXPECT_EQ(latest_heartbeat_ms({0}, 10 * kMs, 60 * kMs, 100), 0) << "not due yet";
}

}  // namespace
}  // namespace tinkex::bench
