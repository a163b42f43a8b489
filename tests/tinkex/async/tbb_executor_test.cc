#include "tinkex/async/tbb_executor.h"

#include <gtest/gtest.h>
#include <oneapi/tbb/task_arena.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <thread>

namespace tinkex::internal {
namespace {

using namespace std::chrono_literals;

TEST(TbbExecutorTest, ATaskMayQueueItsSuccessorsDuringShutdownWithoutNesting) {
  TbbExecutor executor(2);
  std::promise<void> begun;
  std::promise<void> go_on;
  std::atomic<int> steps{0};
  std::atomic<bool> nested{false};
  static thread_local int depth = 0;
  std::function<void()> step = [&] {
    if (depth > 0) nested = true;
    ++depth;
    if (++steps < 100'000) run_on(&executor, step);
    --depth;
  };
  run_on(&executor, [&] {
    begun.set_value();
    go_on.get_future().wait();
    run_on(&executor, step);
  });
  begun.get_future().wait();
  std::thread closing([&] { executor.shutdown(std::chrono::steady_clock::now() + 60s); });
  while (executor.post([] {})) std::this_thread::yield();  // until it refuses strangers
  go_on.set_value();
  closing.join();
  EXPECT_EQ(steps.load(), 100'000);
  EXPECT_FALSE(nested.load());
}

TEST(TbbExecutorTest, ShutdownWaitsNoLongerThanItsDeadline) {
  TbbExecutor executor(2);
  std::promise<void> release;
  auto released = release.get_future().share();
  run_on(&executor, [released] { released.wait(); });
  EXPECT_FALSE(executor.shutdown(std::chrono::steady_clock::now() + 20ms));
  EXPECT_FALSE(executor.post([] {}));
  release.set_value();
  EXPECT_TRUE(executor.shutdown(std::chrono::steady_clock::now() + 60s));
}

TEST(TbbExecutorTest, AsManyTasksRunSideBySideAsThereAreThreads) {
  TbbExecutor executor(3);
  std::promise<void> all_here;
  std::atomic<int> here{0};
  for (int i = 0; i < 3; ++i) {
    run_on(&executor, [&] {
      if (++here == 3) all_here.set_value();
      while (here < 3) std::this_thread::yield();
    });
  }
  EXPECT_EQ(all_here.get_future().wait_for(60s), std::future_status::ready);
}

TEST(TbbExecutorTest, TasksThatWereQueuedRunThoughTheExecutorEnds) {
  std::atomic<int> run{0};
  for (int round = 0; round < 100; ++round) {
    TbbExecutor executor(2);
    for (int i = 0; i < 10; ++i) run_on(&executor, [&run] { ++run; });
  }
  EXPECT_EQ(run, 1'000);
}

TEST(TbbExecutorTest, ATaskFindsTheArenasBound) {
  TbbExecutor executor(3);
  std::promise<int> bound;
  run_on(&executor, [&bound] { bound.set_value(oneapi::tbb::this_task_arena::max_concurrency()); });
  EXPECT_EQ(bound.get_future().get(), 3);
}

}  // namespace
}  // namespace tinkex::internal
