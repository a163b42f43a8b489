#include "tinkex/limits/byte_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace tinkex::internal {
namespace {

void wait_for_waiters(const ByteBudget& budget, std::size_t count) {
  while (budget.waiting() != count) std::this_thread::yield();
}

TEST(ByteBudgetTest, TakesWhatFitsWithoutWaiting) {
  ByteBudget budget(100);
  EXPECT_TRUE(budget.acquire(60).ok());
  EXPECT_TRUE(budget.acquire(40).ok()) << "exactly full still fits";
  EXPECT_EQ(budget.used(), 100U);
  budget.release(100);
  EXPECT_EQ(budget.used(), 0U);
}

TEST(ByteBudgetTest, ABodyAboveTheLimitIsAdmittedAlone) {
  ByteBudget budget(100);
  EXPECT_TRUE(budget.acquire(1'000).ok());
  std::atomic<bool> admitted{false};
  std::thread other([&] {
    EXPECT_TRUE(budget.acquire(1).ok());
    admitted = true;
  });
  wait_for_waiters(budget, 1);
  EXPECT_FALSE(admitted);
  budget.release(1'000);
  other.join();
  EXPECT_EQ(budget.used(), 1U);
}

TEST(ByteBudgetTest, WaitersAreServedInOrder) {
  ByteBudget budget(100);
  ASSERT_TRUE(budget.acquire(100).ok());
  std::atomic<int> next{0};
  std::atomic<bool> in_order{true};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      EXPECT_TRUE(budget.acquire(100).ok());
      if (next++ != i) in_order = false;
      budget.release(100);
    });
    wait_for_waiters(budget, static_cast<std::size_t>(i + 1));
  }
  budget.release(100);
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(in_order);
}

TEST(ByteBudgetTest, ASmallBodyDoesNotOvertakeAWaitingLargeOne) {
  ByteBudget budget(100);
  ASSERT_TRUE(budget.acquire(50).ok());
  std::atomic<int> order{0};
  int large_at = 0;
  int small_at = 0;
  std::thread large([&] {
    EXPECT_TRUE(budget.acquire(90).ok());
    large_at = ++order;
    budget.release(90);
  });
  wait_for_waiters(budget, 1);
  std::thread small([&] {
    EXPECT_TRUE(budget.acquire(20).ok());  // would fit beside the 50
    small_at = ++order;
  });
  wait_for_waiters(budget, 2);
  EXPECT_EQ(order, 0);
  budget.release(50);
  large.join();
  small.join();
  EXPECT_EQ(large_at, 1);
  EXPECT_EQ(small_at, 2);
}

TEST(ByteBudgetTest, ForceNeverWaitsAndCountsLikeAnyOther) {
  ByteBudget budget(10);
  ASSERT_TRUE(budget.acquire(10).ok());
  EXPECT_TRUE(budget.force_acquire(90).ok());
  EXPECT_EQ(budget.used(), 100U);
  std::thread waiter([&] { EXPECT_TRUE(budget.acquire(5).ok()); });
  wait_for_waiters(budget, 1);
  budget.release(10);
  EXPECT_EQ(budget.waiting(), 1U) << "90 of 10 are still in use";
  budget.release(90);
  waiter.join();
}

TEST(ByteBudgetTest, CloseWakesEveryWaiter) {
  ByteBudget budget(10);
  ASSERT_TRUE(budget.acquire(10).ok());
  std::vector<std::thread> threads;
  std::atomic<int> closed{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      const Status status = budget.acquire(1);
      if (!status.ok() && status.error().code() == ErrorCode::kClosed) ++closed;
    });
  }
  wait_for_waiters(budget, 4);
  budget.close();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(closed, 4);
  EXPECT_EQ(budget.waiting(), 0U);
  EXPECT_EQ(budget.acquire(1).error().code(), ErrorCode::kClosed);
  EXPECT_EQ(budget.force_acquire(1).error().code(), ErrorCode::kClosed);
  budget.release(10);
  budget.close();
  EXPECT_EQ(budget.used(), 0U);
}

TEST(ByteBudgetTest, UnderContentionTheLimitHolds) {
  ByteBudget budget(100);
  std::atomic<std::size_t> in_use{0};
  std::atomic<bool> exceeded{false};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 300; ++i) {
        const std::size_t bytes = 1 + (i * 7 + t * 13) % 60;
        EXPECT_TRUE(budget.acquire(bytes).ok());
        if (in_use.fetch_add(bytes) + bytes > 100) exceeded = true;
        in_use.fetch_sub(bytes);
        budget.release(bytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(exceeded);
  EXPECT_EQ(budget.used(), 0U);
}

}  // namespace
}  // namespace tinkex::internal
