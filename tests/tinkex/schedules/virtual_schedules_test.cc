#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/tinkex/schedules/program.h"
#include "tests/tinkex/schedules/verdict.h"
#include "tests/tinkex/schedules/virtual_run.h"

namespace tinkex::testing {
namespace {

constexpr std::uint64_t kSeeds = 1'000;
constexpr std::uint64_t kSeedsPerCase = 100;

class VirtualSchedulesTest : public ::testing::TestWithParam<std::uint64_t> {};

// Spec H1, H6, T1, T6, T7, T10, T11, T12, T16, S8, S11, C3: see verdict.cc for what is looked at.
TEST_P(VirtualSchedulesTest, H6_C3_EveryFutureSettlesOrderHoldsAndNothingIsDoneTwice) {
  int failures = 0;
  for (const std::uint64_t seed : seeds(GetParam(), kSeedsPerCase)) {
    VirtualRun run(seed);
    const auto wrong = judge(run.run());
    if (wrong.empty()) continue;
    ADD_FAILURE() << report(seed, wrong, run.story());
    if (++failures == 3) return;  // enough to read
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, VirtualSchedulesTest,
                         ::testing::Range<std::uint64_t>(0, kSeeds, kSeedsPerCase),
                         [](const auto& info) { return "From" + std::to_string(info.param); });

TEST(VirtualRunTest, TheSameSeedGivesTheSameRun) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    VirtualRun one(seed);
    VirtualRun two(seed);
    EXPECT_EQ(one.run().log.size(), two.run().log.size());
    EXPECT_EQ(one.story(), two.story());
  }
}

}  // namespace
}  // namespace tinkex::testing
