#include "tinkex/future.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "tinkex/async/tbb_executor.h"

namespace tinkex {
namespace {

using namespace std::chrono_literals;
using internal::TbbExecutor;

std::shared_ptr<TbbExecutor> executor() { return std::make_shared<TbbExecutor>(2); }

TEST(FutureTest, GetGivesTheValueThatThePromiseSet) {
  Promise<int> promise;
  Future<int> future = promise.future();
  EXPECT_FALSE(future.ready());
  std::thread setter([&promise] { promise.set(7); });
  EXPECT_EQ(*future.get(), 7);
  setter.join();
}

// Moved out, not referred to: else the loop, and both references, would look at what has ended.
TEST(ResultTest, WhatIsTakenFromAResultThatEndsOutlivesIt) {
  static_assert(std::is_same_v<decltype(std::declval<Result<int>>().value()), int>);
  static_assert(std::is_same_v<decltype(*std::declval<Result<int>>()), int>);
  static_assert(std::is_same_v<decltype(std::declval<Result<int>>().error()), Error>);
  const auto texts = [] {
    return Future<std::vector<std::string>>::ready_with(
        std::vector<std::string>{std::string(100, 'a'), std::string(100, 'b')}, nullptr);
  };
  std::string all;
  for (const std::string& each : texts().get().value()) all += each;
  EXPECT_EQ(all, std::string(100, 'a') + std::string(100, 'b'));
  const auto& values = *texts().get();
  EXPECT_EQ(values.at(1), std::string(100, 'b'));
  const Error& error =
      Future<int>::ready_with(Error(ErrorCode::kIo, std::string(100, 'e')), nullptr).get().error();
  EXPECT_EQ(error.message(), std::string(100, 'e'));
}

// Spec C2.
TEST(FutureTest, C2_TheFirstResultStays) {
  Promise<int> promise;
  EXPECT_TRUE(promise.set(1));
  EXPECT_FALSE(promise.set(2));
  EXPECT_FALSE(promise.set(Error(ErrorCode::kInternal, "late")));
  EXPECT_EQ(*promise.future().get(), 1);
}

// Spec T12.
TEST(FutureTest, T12_AnAbandonedPromiseSettlesItsFuture) {
  std::optional<Future<int>> future;
  {
    Promise<int> promise;
    future.emplace(promise.future());
  }
  EXPECT_EQ(future->get().error().code(), ErrorCode::kCancelled);
}

// Spec T12.
TEST(FutureTest, T12_SettlingAfterTheFutureIsGoneIsHarmless) {
  Promise<std::string> promise;
  { Future<std::string> dropped = promise.future(); }
  EXPECT_TRUE(promise.set(std::string(1000, 'x')));
}

TEST(FutureTest, ThenRunsOnTheExecutorAndChains) {
  auto pool = executor();
  Promise<int> promise(pool);
  auto text = promise.future()
                  .then([&pool](Result<int> value) {
                    EXPECT_TRUE(pool->is_worker_thread());
                    return *value + 1;
                  })
                  .then([](Result<int> value) { return std::to_string(*value); });
  promise.set(41);
  EXPECT_EQ(*text.get(), "42");
}

TEST(FutureTest, ThenFlattensAFutureOfAFuture) {
  auto pool = executor();
  Promise<int> outer(pool);
  Promise<int> inner(pool);
  Future<int> flat =
      outer.future().then([&inner](Result<int>) -> Future<int> { return inner.future(); });
  outer.set(1);
  EXPECT_FALSE(flat.wait_for(5ms));
  inner.set(2);
  EXPECT_EQ(*flat.get(), 2);
}

// Spec C2.
TEST(FutureTest, C2_AThrowingContinuationBecomesTheErrorOfTheNextFuture) {
  auto pool = executor();
  const auto run = [&pool](auto thrower) {
    auto future = Future<int>::ready_with(1, pool).then([thrower](Result<int>) -> int {
      thrower();
      return 0;
    });
    return future.get().error().what() + std::string();
  };
  EXPECT_NE(
      run([] { throw std::runtime_error("boom"); }).find("a function given to then() threw: boom"),
      std::string::npos);
  EXPECT_NE(run([] { throw std::bad_alloc(); }).find("out of memory"), std::string::npos);
  EXPECT_NE(run([] { throw 5; }).find("then() threw something that is no std::exception"),
            std::string::npos);
}

// Spec T8.
TEST(FutureTest, T8_WhateverGuardedWorkThrowsSettlesTheCell) {
  auto pool = executor();
  for (int kind = 0; kind < 3; ++kind) {
    auto cell = std::make_shared<internal::ResultCell<int>>(pool);
    run_on(pool.get(), [cell, kind] {
      internal::settle_guarded(*cell, [kind] {
        if (kind == 0) throw std::bad_alloc();
        if (kind == 1) throw std::logic_error("wrong");
        throw 7;
      });
    });
    EXPECT_EQ(Future<int>(cell).get().error().code(), ErrorCode::kInternal);
  }
}

TEST(FutureTest, WaitingOnAnExecutorThreadIsRefusedInsteadOfHanging) {
  auto pool = executor();
  Promise<int> never(pool);
  auto waiter = never.future();
  auto asked = Future<int>::ready_with(0, pool).then(
      [&waiter](Result<int>) { return waiter.get().error().code(); });
  EXPECT_EQ(*asked.get(), ErrorCode::kWouldDeadlock);
  never.set(3);
  EXPECT_EQ(*waiter.get(), 3);
}

TEST(FutureTest, WhereWaitingIsRefusedCanBeAskedBeforehand) {
  auto pool = executor();
  Promise<int> never(pool);
  auto waiter = never.future();
  EXPECT_FALSE(waiter.would_deadlock());
  auto asked = Future<int>::ready_with(0, pool).then(
      [&waiter](Result<int>) { return waiter.would_deadlock() && !waiter.wait_for(1h); });
  EXPECT_TRUE(*asked.get());
}

TEST(FutureTest, CancelSettlesAtOnceAndTellsTheProducer) {
  Promise<int> promise;
  bool told = false;
  promise.on_cancel([&told] { told = true; });
  Future<int> future = promise.future();
  future.cancel();
  EXPECT_TRUE(told);
  EXPECT_EQ(future.get().error().code(), ErrorCode::kCancelled);
  EXPECT_FALSE(promise.set(1));
}

// Spec T12.
TEST(FutureTest, T12_WhoWaitsGoesOnWhenTheProducerHasBeenTold) {
  Promise<int> promise;
  auto cell = promise.cell();
  bool told = false;
  promise.on_cancel([&told, &cell, &promise] {
    told = true;
    EXPECT_FALSE(cell->ready());
    EXPECT_FALSE(promise.set(7)) << "too late";
  });
  bool told_before = false;
  cell->on_ready([&told, &told_before](auto&) { told_before = told; });
  cell->end_with(
      [&told] { return Error(ErrorCode::kDeadlineExceeded, told ? "told" : "not yet"); });
  EXPECT_TRUE(told_before);
  EXPECT_EQ(promise.future().get().error().message(), "told");
  EXPECT_TRUE(cell->was_ended());
}

// As many as a loop of steps may make, each of which gives the future of the next.
constexpr int kLongChain = 200'000;

// Spec T12.
TEST(FutureTest, T12_CancellingALongChainReachesItsBeginning) {
  Promise<int> promise(executor());
  std::atomic<bool> told{false};
  promise.on_cancel([&told] { told = true; });
  Future<int> last = promise.future();
  for (int i = 0; i < kLongChain; ++i) {
    last = std::move(last).then([](Result<int> value) { return value; });
  }
  last.cancel();
  EXPECT_TRUE(told) << "when cancel() returns";
  EXPECT_EQ(last.get().error().code(), ErrorCode::kCancelled);
}

// Spec T12.
TEST(FutureTest, T12_AtTheEndOfALongChainTooTheProducerIsToldFirst) {
  Promise<int> promise;
  std::atomic<bool> told{false};
  promise.on_cancel([&told] { told = true; });
  std::atomic<int> too_early{0};
  Future<int> last = promise.future();
  for (int i = 0; i < 1'000; ++i) {
    last = std::move(last).then([](Result<int> value) { return value; });
    last.cell()->on_ready([&told, &too_early](auto&) { too_early += told ? 0 : 1; });
  }
  last.cancel();
  EXPECT_EQ(too_early, 0);
  EXPECT_TRUE(last.ready());
}

TEST(FutureTest, WaitingInsideTheSettlingOfALongChainIsRefusedInsteadOfHanging) {
  Promise<int> innermost;
  Future<int> outermost = innermost.future();
  for (int i = 0; i < 300; ++i) {
    auto outer = std::make_shared<internal::ResultCell<int>>(nullptr);
    internal::pass_on(outermost.cell(), outer);
    outermost = Future<int>(std::move(outer));
  }
  std::optional<ErrorCode> code;
  outermost.cell()->on_ready([&code](auto&) {
    Promise<int> first;
    Future<int> second = first.future().then([](Result<int> value) { return value; });
    for (int i = 0; i < 150; ++i) {
      second = std::move(second).then([](Result<int> value) { return value; });
    }
    first.set(1);
    const Result<int>& result = second.get();
    code = result.ok() ? ErrorCode::kInternal : result.error().code();
  });
  innermost.set(7);
  EXPECT_EQ(code, ErrorCode::kWouldDeadlock);
}

// Spec T8.
TEST(FutureTest, T8_AResultReachesTheOutermostOfManyFuturesInFutures) {
  Promise<int> innermost(executor());
  Future<int> outermost = innermost.future();
  for (int i = 0; i < kLongChain; ++i) {
    auto outer = std::make_shared<internal::ResultCell<int>>(nullptr);
    internal::pass_on(outermost.cell(), outer);
    outermost = Future<int>(std::move(outer));
  }
  EXPECT_TRUE(innermost.set(7));
  ASSERT_TRUE(outermost.ready()) << "when set() returns";
  EXPECT_EQ(*outermost.get(), 7);
}

TEST(FutureTest, CancellingAContinuationCancelsWhatItWaitsFor) {
  auto pool = executor();
  Promise<int> promise(pool);
  auto next = promise.future().then([](Result<int> value) { return value; });
  next.cancel();
  EXPECT_TRUE(promise.settled());
}

// Spec H7.
TEST(WhenAllTest, H7_KeepsTheOrderWhateverComesFirst) {
  auto pool = executor();
  std::vector<Promise<int>> promises;
  std::vector<Future<int>> futures;
  for (int i = 0; i < 3; ++i) futures.push_back(promises.emplace_back(pool).future());
  auto all = when_all(std::move(futures));
  promises[2].set(2);
  promises[0].set(0);
  EXPECT_FALSE(all.ready());
  promises[1].set(1);
  EXPECT_EQ(*all.get(), (std::vector<int>{0, 1, 2}));
}

// Spec T16.
TEST(WhenAllTest, T16_StopsAtTheFirstFailureAndCancelsTheRest) {
  auto pool = executor();
  Promise<int> failing(pool);
  Promise<int> pending(pool);
  std::vector<Future<int>> futures;
  futures.push_back(pending.future());
  futures.push_back(failing.future());
  auto all = when_all(std::move(futures), OnFailure::kStopAtFirst);
  failing.set(Error(ErrorCode::kRequestFailed, "first"));
  EXPECT_EQ(all.get().error().message(), "first");
  EXPECT_TRUE(pending.settled());
}

TEST(WhenAllTest, WaitsForAllWhenAskedTo) {
  auto pool = executor();
  Promise<int> failing(pool);
  Promise<int> pending(pool);
  std::vector<Future<int>> futures;
  futures.push_back(failing.future());
  futures.push_back(pending.future());
  auto all = when_all(std::move(futures), OnFailure::kWaitForAll);
  failing.set(Error(ErrorCode::kRequestFailed, "first"));
  EXPECT_FALSE(all.wait_for(5ms));
  pending.set(1);
  EXPECT_EQ(all.get().error().message(), "first");
}

TEST(WhenAllTest, NothingIsAnEmptyList) {
  EXPECT_TRUE(when_all(std::vector<Future<int>>()).get()->empty());
}

TEST(ExecutorTest, RunsTwoTasksAtATimeAlsoOnAFewCores) {
  TbbExecutor pool(2);
  std::atomic<int> inside{0};
  std::atomic<bool> met{false};
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(pool.post([&] {
      ++inside;
      const auto deadline = std::chrono::steady_clock::now() + 10s;
      while (inside.load() < 2 && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
      }
      if (inside.load() == 2) met = true;
    }));
  }
  EXPECT_TRUE(pool.shutdown(std::chrono::steady_clock::now() + 20s));
  EXPECT_TRUE(met.load());
}

TEST(ExecutorTest, AnExceptionFromATaskDoesNotEndTheProcess) {
  TbbExecutor pool(2);
  ASSERT_TRUE(pool.post([] { throw std::runtime_error("lost"); }));
  EXPECT_TRUE(pool.shutdown(std::chrono::steady_clock::now() + 10s));
}

TEST(ExecutorTest, RefusesTasksAfterShutdownAndRunOnRunsThemHere) {
  TbbExecutor pool(2);
  pool.shutdown(std::chrono::steady_clock::now() + 10s);
  EXPECT_FALSE(pool.post([] {}));
  bool ran = false;
  run_on(&pool, [&ran] { ran = true; });
  EXPECT_TRUE(ran);
}

TEST(ExecutorTest, MayBeDestroyedByItsOwnTask) {
  auto pool = std::make_shared<TbbExecutor>(2);
  Promise<int> promise;
  Future<int> done = promise.future();
  auto shared = std::make_shared<Promise<int>>(std::move(promise));
  TbbExecutor& raw = *pool;
  ASSERT_TRUE(raw.post([pool = std::move(pool), shared]() mutable {
    pool.reset();
    shared->set(1);
  }));
  EXPECT_EQ(*done.get(), 1);
}

TEST(FutureTest, WaitingForTheLongestTimeIsWaitingForEver) {
  Promise<int> promise;
  const Future<int> future = promise.future();
  std::thread later([&promise] { promise.set(1); });
  EXPECT_TRUE(future.wait_for(std::chrono::hours::max()));
  later.join();
  const auto now = std::chrono::steady_clock::now();
  EXPECT_EQ(deadline_after(now, std::chrono::milliseconds::max()), Clock::time_point::max());
  EXPECT_EQ(deadline_after(now, std::chrono::hours::min()), now);
  EXPECT_EQ(deadline_after(now, std::chrono::seconds(2)) - now, std::chrono::seconds(2));
}

// Spec T12.
TEST(FutureTest, T12_AHookThatComesAfterACancelIsRefusedOrCalled) {
  for (int i = 0; i < 500; ++i) {
    Promise<int> promise;
    std::atomic<int> called{0};
    std::thread canceller([&promise] { promise.future().cancel(); });
    const bool taken = promise.cell()->on_cancel([&called] { ++called; });
    canceller.join();
    EXPECT_EQ(called, taken ? 1 : 0);
  }
}

}  // namespace
}  // namespace tinkex
