#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <random>
#include <thread>
#include <vector>

#include "tinkex/http/command_queue.h"
#include "tinkex/http/io_thread.h"
#include "tinkex/http/timer_queue.h"

namespace tinkex::internal {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

Clock::time_point at(int ms) { return Clock::time_point(milliseconds(ms)); }

TEST(TimerQueueTest, GivesWhatIsDueEarliestFirstAndEqualsInTheOrderAdded) {
  TimerQueue queue;
  std::vector<int> fired;
  for (const auto& [id, when] : {std::pair(1, 30), {2, 10}, {3, 10}, {4, 20}}) {
    queue.add(static_cast<TimerQueue::Id>(id), at(when),
              [&fired, id = id] { fired.push_back(id); });
  }
  EXPECT_EQ(queue.next_deadline(), at(10));
  EXPECT_TRUE(queue.take_due(at(9)).empty());
  for (const auto& callback : queue.take_due(at(20))) callback();
  EXPECT_THAT(fired, ElementsAre(2, 3, 4));
  EXPECT_EQ(queue.next_deadline(), at(30));
}

TEST(TimerQueueTest, CancelledTimersAreGoneAndUnknownIdsIgnored) {
  TimerQueue queue;
  queue.add(1, at(10), [] {});
  queue.add(2, at(20), [] {});
  queue.cancel(1);
  queue.cancel(1);
  queue.cancel(99);
  EXPECT_EQ(queue.next_deadline(), at(20));
  EXPECT_EQ(queue.take_due(at(100)).size(), 1u);
  EXPECT_EQ(queue.next_deadline(), std::nullopt);
  queue.cancel(2);
}

TEST(TimerQueueTest, RandomAddsAndCancelsAgreeWithAPlainList) {
  std::mt19937 random(7);
  TimerQueue queue;
  std::vector<std::pair<int, TimerQueue::Id>> model;  // When and id of what waits.
  std::vector<TimerQueue::Id> fired;
  for (TimerQueue::Id id = 1; id <= 2000; ++id) {
    const int when = static_cast<int>(random() % 1000);
    queue.add(id, at(when), [&fired, id] { fired.push_back(id); });
    model.emplace_back(when, id);
    if (random() % 3 == 0) {
      const std::size_t victim = random() % model.size();
      queue.cancel(model[victim].second);
      model.erase(model.begin() + static_cast<std::ptrdiff_t>(victim));
    }
  }
  std::sort(model.begin(), model.end());
  for (int now = 0; now <= 1000; now += 37) {
    for (const auto& callback : queue.take_due(at(now))) callback();
  }
  for (const auto& callback : queue.take_due(at(1000))) callback();
  ASSERT_EQ(fired.size(), model.size());
  for (std::size_t i = 0; i < fired.size(); ++i) EXPECT_EQ(fired[i], model[i].second);
}

TEST(CommandQueueTest, TakesInTheOrderPushedAndSaysWhenItWasEmpty) {
  using Pushed = CommandQueue<int>::Pushed;
  CommandQueue<int> queue;
  int one = 1, two = 2, three = 3;
  EXPECT_EQ(queue.push(one), Pushed::kFirst);
  EXPECT_EQ(queue.push(two), Pushed::kBehindOthers);
  EXPECT_THAT(queue.take(), ElementsAre(1, 2));
  EXPECT_TRUE(queue.take().empty());
  EXPECT_EQ(queue.push(three), Pushed::kFirst);
  EXPECT_THAT(queue.close(), ElementsAre(3));
  EXPECT_TRUE(queue.close().empty());
}

TEST(CommandQueueTest, AClosedQueueLeavesTheCommandWithItsOwner) {
  CommandQueue<std::unique_ptr<int>> queue;
  queue.close();
  auto command = std::make_unique<int>(5);
  EXPECT_EQ(queue.push(command), CommandQueue<std::unique_ptr<int>>::Pushed::kClosed);
  ASSERT_NE(command, nullptr);
  EXPECT_EQ(*command, 5);
}

TEST(CommandQueueTest, EveryPushIsTakenOnceOrRefusedAndEachThreadsOrderIsKept) {
  constexpr int kThreads = 4;
  constexpr int kEach = 5000;
  CommandQueue<std::pair<int, int>> queue;
  std::atomic<int> refused{0};
  std::atomic<int> pushed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        std::pair<int, int> command(t, i);
        const bool closed =
            queue.push(command) == CommandQueue<std::pair<int, int>>::Pushed::kClosed;
        (closed ? refused : pushed).fetch_add(1);
      }
    });
  }
  std::vector<int> last(kThreads, -1);
  int taken = 0;
  const auto count = [&](const std::vector<std::pair<int, int>>& commands) {
    for (const auto& [thread, number] : commands) {
      EXPECT_GT(number, last[static_cast<std::size_t>(thread)]);
      last[static_cast<std::size_t>(thread)] = number;
      ++taken;
    }
  };
  while (taken < kThreads * kEach / 2) count(queue.take());
  count(queue.close());
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken, pushed.load());
  EXPECT_EQ(taken + refused.load(), kThreads * kEach);
}

class IoTimersTest : public ::testing::Test {
 protected:
  Clock::time_point in(int ms) const { return clock_->now() + milliseconds(ms); }

  std::shared_ptr<SteadyClock> clock_ = std::make_shared<SteadyClock>();
  std::shared_ptr<IoThread> io_ = IoThread::start(clock_).value();
};

TEST_F(IoTimersTest, TimersFireInTheOrderOfTheirDeadlinesAndNotEarly) {
  std::vector<int> fired;
  std::promise<void> done;
  const auto last = in(30);
  io_->schedule(last, [&] {
    fired.push_back(3);
    done.set_value();
  });
  io_->schedule(in(1), [&] { fired.push_back(1); });
  io_->schedule(in(10), [&] { fired.push_back(2); });
  done.get_future().get();
  EXPECT_GE(clock_->now(), last);
  EXPECT_THAT(fired, ElementsAre(1, 2, 3));
}

TEST_F(IoTimersTest, APastDeadlineFiresAndAnEarlierOneOvertakesAWaitingOne) {
  std::promise<void> late;
  io_->schedule(in(3'600'000), [] { FAIL() << "an hour has not passed"; });
  io_->schedule(in(-1000), [&] { late.set_value(); });
  late.get_future().get();
  std::promise<void> soon;
  io_->schedule(in(5), [&] { soon.set_value(); });
  soon.get_future().get();
  io_->cancel(1);  // The hour, so that the shutdown does not run it.
}

TEST_F(IoTimersTest, ACancelledTimerDoesNotFireButItsNeighbourDoes) {
  std::atomic<bool> wrong{false};
  const auto id = io_->schedule(in(20), [&] { wrong = true; });
  io_->cancel(id);
  std::promise<void> after;
  io_->schedule(in(25), [&] { after.set_value(); });
  after.get_future().get();
  io_->shutdown();
  EXPECT_FALSE(wrong.load());
}

TEST_F(IoTimersTest, ACallbackMayScheduleTheNextAndThrow) {
  std::promise<void> third;
  io_->schedule(in(0), [&] {
    io_->schedule(in(1), [&] {
      io_->schedule(in(1), [&] { third.set_value(); });
      throw std::runtime_error("stays on the I/O thread");
    });
  });
  third.get_future().get();
}

TEST_F(IoTimersTest, ShutdownWakesEveryTimerAndLaterOnesRunInTheCaller) {
  std::atomic<int> woken{0};
  for (int i = 0; i < 100; ++i) io_->schedule(in(3'600'000 + i), [&] { woken.fetch_add(1); });
  io_->shutdown();
  EXPECT_EQ(woken.load(), 100);
  std::thread::id ran_on;
  io_->schedule(in(3'600'000), [&] { ran_on = std::this_thread::get_id(); });
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST_F(IoTimersTest, ShutdownInACallbackOnlyAsksForTheEnd) {
  std::promise<void> returned;
  io_->schedule(in(0), [&] {
    io_->shutdown();
    returned.set_value();
  });
  returned.get_future().get();
  io_->shutdown();
}

TEST_F(IoTimersTest, ShutdownFromSeveralThreadsAtOnceEnds) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([this] { io_->shutdown(); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace tinkex::internal
