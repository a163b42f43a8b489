#include "torch_ext/local/future_store.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/torch_ext/local/manual_timers.h"
#include "torch_ext/local/compute_thread.h"
#include "torch_ext/local/timer_thread.h"

namespace tinkex::torch_ext::local {
namespace {

using PollState = FutureStore::PollState;
using std::chrono::milliseconds;

constexpr milliseconds kHold{30'000};

struct Answer {
  int count = 0;
  std::optional<PollState> state;
  std::shared_ptr<const OperationResult> result;

  FutureStore::Waiter waiter() {
    return [this](PollState s, std::shared_ptr<const OperationResult> r) {
      ++count;
      state = s;
      result = std::move(r);
    };
  }
};

class FutureStoreTest : public ::testing::Test {
 protected:
  std::shared_ptr<FutureStore> make(std::size_t max_bytes) {
    return FutureStore::create({time_, time_, kHold, max_bytes});
  }
  std::shared_ptr<ManualTime> time_ = std::make_shared<ManualTime>();
  std::shared_ptr<FutureStore> store_ = make(1 << 20);
};

TEST_F(FutureStoreTest, PollWaitsForTheResultAndHoldsNoTimerAfterwards) {
  const std::string id = store_->open("s");
  Answer answer;
  store_->poll(id, answer.waiter());
  EXPECT_EQ(answer.count, 0);
  EXPECT_EQ(time_->waiting(), 1u);
  store_->settle(id, OperationOutput(std::string("done")));
  EXPECT_EQ(answer.count, 1);
  EXPECT_EQ(std::get<std::string>(**answer.result), "done");
  EXPECT_EQ(time_->waiting(), 0u);
}

TEST_F(FutureStoreTest, LongPollEndsWithPendingAndTheNextOneGetsTheResult) {
  const std::string id = store_->open("s");
  Answer first;
  store_->poll(id, first.waiter());
  time_->advance(kHold - milliseconds(1));
  EXPECT_EQ(first.count, 0);
  time_->advance(milliseconds(1));
  EXPECT_EQ(first.state, PollState::kPending);
  store_->settle(id, OperationOutput(std::string("done")));
  EXPECT_EQ(first.count, 1);
  for (int i = 0; i < 2; ++i) {
    Answer again;
    store_->poll(id, again.waiter());
    EXPECT_EQ(again.state, PollState::kReady);
  }
}

TEST_F(FutureStoreTest, EveryWaitingPollGetsTheResult) {
  const std::string id = store_->open("s");
  Answer one;
  Answer two;
  store_->poll(id, one.waiter());
  store_->poll(id, two.waiter());
  store_->settle(id, invalid_argument("bad"));
  EXPECT_EQ(one.result->error().message(), "bad");
  EXPECT_EQ(two.result->error().message(), "bad");
}

TEST_F(FutureStoreTest, WaiterThatThrowsKeepsNoOtherFromItsAnswer) {
  const std::string id = store_->open("s");
  Answer first;
  Answer last;
  store_->poll(id, first.waiter());
  store_->poll(id, [](PollState, const auto&) { throw std::bad_alloc(); });
  store_->poll(id, last.waiter());
  store_->settle(id, OperationOutput(std::string("done")));
  EXPECT_EQ(first.count, 1);
  EXPECT_EQ(last.count, 1);
}

TEST_F(FutureStoreTest, OnlyTheFirstResultCounts) {
  const std::string id = store_->open("s");
  store_->settle(id, OperationOutput(std::string("first")));
  store_->settle(id, OperationOutput(std::string("second")));
  Answer answer;
  store_->poll(id, answer.waiter());
  EXPECT_EQ(std::get<std::string>(**answer.result), "first");
}

TEST_F(FutureStoreTest, UnknownIdsAreToldFromExpiredOnes) {
  const std::string id = store_->open("s");
  store_->close_session("s", Error(ErrorCode::kClosed, "finished"));
  const std::string prefix = id.substr(0, id.rfind('-') + 1);
  for (const auto& [asked, state] : std::vector<std::pair<std::string, PollState>>{
           {id, PollState::kExpired},
           {"nonsense", PollState::kUnknown},
           {"", PollState::kUnknown},
           {prefix, PollState::kUnknown},
           {prefix + "2", PollState::kUnknown},
           {prefix + "1x", PollState::kUnknown},
           {prefix + "99999999999999999999999", PollState::kUnknown}}) {
    Answer answer;
    store_->poll(asked, answer.waiter());
    EXPECT_EQ(answer.state, state) << asked;
  }
}

TEST_F(FutureStoreTest, OldestResultsGoWhenTheBytesAreFull) {
  store_ = make(2048);
  const std::string first = store_->open("s");
  const std::string second = store_->open("s");
  store_->settle(first, OperationOutput(std::string(1500, 'x')));
  store_->settle(second, OperationOutput(std::string(1500, 'y')));
  Answer old;
  store_->poll(first, old.waiter());
  EXPECT_EQ(old.state, PollState::kExpired);
  Answer young;
  store_->poll(second, young.waiter());
  EXPECT_EQ(young.state, PollState::kReady);
}

TEST_F(FutureStoreTest, FinishedSessionAnswersItsPollsAndLeavesOthersAlone) {
  const std::string mine = store_->open("mine");
  const std::string other = store_->open("other");
  Answer mine_answer;
  Answer other_answer;
  store_->poll(mine, mine_answer.waiter());
  store_->poll(other, other_answer.waiter());
  store_->close_session("mine", Error(ErrorCode::kClosed, "finished"));
  EXPECT_EQ(mine_answer.result->error().message(), "finished");
  EXPECT_EQ(other_answer.count, 0);
}

TEST_F(FutureStoreTest, CloseAnswersEverythingNowAndLater) {
  Answer answer;
  store_->poll(store_->open("s"), answer.waiter());
  store_->close(Error(ErrorCode::kClosed, "shut down"));
  EXPECT_EQ(answer.result->error().message(), "shut down");
  Answer late;
  store_->poll(store_->open("s"), late.waiter());
  EXPECT_EQ(late.result->error().message(), "shut down");
}

TEST_F(FutureStoreTest, ResultsAndExpiryRaceAndEveryPollIsAnsweredOnce) {
  constexpr int kFutures = 300;
  std::vector<std::string> ids;
  for (int i = 0; i < kFutures; ++i) ids.push_back(store_->open("s"));
  std::atomic<int> answers{0};
  std::thread pollers([&] {
    for (const std::string& id : ids) {
      store_->poll(id, [&](PollState, std::shared_ptr<const OperationResult>) { ++answers; });
    }
  });
  std::thread clock([&] {
    for (int i = 0; i < 50; ++i) time_->advance(kHold / 10);
  });
  for (const std::string& id : ids) store_->settle(id, OperationOutput(std::string("x")));
  pollers.join();
  clock.join();
  EXPECT_EQ(answers.load(), kFutures);
  EXPECT_EQ(time_->waiting(), 0u);
}

TEST(TimerThreadTest, RunsInOrderOfTimeNotBeforeAndCancels) {
  std::vector<int> order;
  const auto begun = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point ended;
  {
    TimerThread timers;
    internal::Mutex mutex;
    internal::CondVar changed;
    bool done = false;
    timers.schedule(begun + milliseconds(20), [&] {
      internal::MutexLock lock(mutex);
      order.push_back(2);
      ended = std::chrono::steady_clock::now();
      done = true;
      changed.notify_all();
    });
    timers.schedule(begun + milliseconds(5), [&] { order.push_back(1); });
    timers.cancel(timers.schedule(begun + milliseconds(10), [&] { order.push_back(3); }));
    internal::MutexLock lock(mutex);
    while (!done) changed.wait(mutex);
  }
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_GE(ended - begun, milliseconds(20));
}

TEST(TimerThreadTest, CallbackThatThrowsStopsNoLaterOne) {
  TimerThread timers;
  std::promise<void> ran;
  const auto now = std::chrono::steady_clock::now();
  timers.schedule(now, [] { throw std::bad_alloc(); });
  timers.schedule(now + milliseconds(1), [&] { ran.set_value(); });
  ran.get_future().get();
}

TEST(TimerThreadTest, EndWakesWhoeverStillWaits) {
  std::atomic<int> woken{0};
  {
    TimerThread timers;
    timers.schedule(std::chrono::steady_clock::now() + std::chrono::hours(1), [&] { ++woken; });
  }
  EXPECT_EQ(woken.load(), 1);
}

TEST(TimerThreadTest, CallbackMayDropTheLastOwner) {
  std::promise<void> dropped;
  std::promise<void> mine_gone;
  auto timers = std::make_shared<TimerThread>();
  timers->schedule(std::chrono::steady_clock::now(), [&, held = timers]() mutable {
    mine_gone.get_future().wait();
    held.reset();
    dropped.set_value();
  });
  timers.reset();
  mine_gone.set_value();
  dropped.get_future().wait();
}

TEST(ComputeThreadTest, LanesTakeTurns) {
  std::string order;
  {
    ComputeThread compute([&] { order += '^'; });
    std::promise<void> go;
    std::promise<void> end;
    compute.post("first", [&] { go.get_future().get(); });
    for (int i = 0; i < 3; ++i) compute.post("a", [&] { order += 'a'; });
    for (int i = 0; i < 2; ++i) compute.post("b", [&] { order += 'b'; });
    compute.post("a", [&] { end.set_value(); });
    go.set_value();
    end.get_future().get();
  }
  EXPECT_EQ(order, "^ababa");
}

TEST(ComputeThreadTest, StopWaitsForTheRunningTaskAndDropsTheRest) {
  std::promise<void> running;
  std::promise<void> go;
  std::atomic<int> ran{0};
  ComputeThread compute([] {});
  compute.post("a", [&] {
    running.set_value();
    go.get_future().get();
    ++ran;
  });
  compute.post("a", [&] { ++ran; });
  running.get_future().get();
  std::thread stopper([&] { compute.stop(); });
  while (compute.post("b", [&] { ++ran; })) std::this_thread::yield();
  go.set_value();
  stopper.join();
  EXPECT_EQ(ran.load(), 1);
}

}  // namespace
}  // namespace tinkex::torch_ext::local
