#include "tinkex/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace tinkex::internal {
namespace {

TEST(RandomSourceTest, FollowsSplitMix64) {
  RandomSource source(0);  // reference values of SplitMix64 with seed 0
  EXPECT_EQ(source.next(), 0xe220a8397b1dcdafU);
  EXPECT_EQ(source.next(), 0x6e789e6aa1b965f4U);
  EXPECT_EQ(source.next(), 0x06c45d188009454fU);
}

TEST(RandomSourceTest, UniformStaysInsideAndFillsTheRange) {
  RandomSource source(7);
  double sum = 0;
  double low = 1;
  double high = 0;
  constexpr int kDraws = 10'000;
  for (int i = 0; i < kDraws; ++i) {
    const double u = source.uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    low = std::min(low, u);
    high = std::max(high, u);
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 0.02);
  EXPECT_LT(low, 0.01);
  EXPECT_GT(high, 0.99);
}

TEST(RandomSourceTest, UnseededSourcesDiffer) {
  EXPECT_NE(RandomSource().next(), RandomSource().next());
}

TEST(RandomSourceTest, ThreadsShareOneSequenceWithoutRepeats) {
  constexpr int kThreads = 8;
  constexpr int kDraws = 2'000;
  RandomSource shared(42);
  std::vector<std::vector<std::uint64_t>> drawn(kThreads);
  std::vector<std::thread> threads;
  for (auto& mine : drawn) {
    threads.emplace_back([&shared, &mine] {
      for (int i = 0; i < kDraws; ++i) mine.push_back(shared.next());
    });
  }
  for (std::thread& thread : threads) thread.join();

  std::vector<std::uint64_t> all;
  for (const auto& mine : drawn) all.insert(all.end(), mine.begin(), mine.end());
  std::vector<std::uint64_t> expected;
  RandomSource alone(42);
  for (int i = 0; i < kThreads * kDraws; ++i) expected.push_back(alone.next());
  std::sort(all.begin(), all.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(all, expected);
}

}  // namespace
}  // namespace tinkex::internal
