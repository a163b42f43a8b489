#include "tinkex/coroutine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "tinkex/async/tbb_executor.h"

namespace tinkex {
namespace {

using internal::TbbExecutor;

/// Never destroyed: a coroutine may still be on its way out when the process ends.
std::shared_ptr<TbbExecutor> pool() {
  static const auto* executor = new std::shared_ptr<TbbExecutor>(
      std::make_shared<TbbExecutor>(2));  // NOLINT(*-owning-memory)
  return *executor;
}

Future<std::string> describe(Future<int> number) {
  const Result<int> value = co_await std::move(number);
  if (!value) co_return value.error();
  if (*value < 0) throw std::runtime_error("negative");
  co_return std::to_string(*value);
}

Future<int> sum(Future<int> one, Future<int> two) {
  const Result<int> first = co_await std::move(one);
  if (!first) co_return first.error();
  const Result<int> second = co_await std::move(two);
  if (!second) co_return second.error();
  co_return *first + *second;
}

Future<bool> runs_on_pool(Future<int> number) {
  (void)co_await std::move(number);
  co_return pool()->is_worker_thread();
}

struct Guard {
  std::atomic<bool>& gone;
  ~Guard() {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    gone = true;
  }
};

Future<int> with_guard(Future<int> number, std::atomic<bool>& gone) {
  const Guard guard{gone};
  co_return co_await std::move(number);
}

TEST(CoroutineTest, ItsFutureSettlesWhenItsLocalsAreGone) {
  std::atomic<bool> gone{false};
  Promise<int> promise(pool());
  Future<int> number = with_guard(promise.future(), gone);
  promise.set(3);
  EXPECT_EQ(*number.get(), 3);
  EXPECT_TRUE(gone);
}

TEST(CoroutineTest, AnAwaitedResultArrives) {
  Promise<int> promise(pool());
  Future<std::string> text = describe(promise.future());
  EXPECT_FALSE(text.ready());
  promise.set(7);
  EXPECT_EQ(*text.get(), "7");
}

TEST(CoroutineTest, AResultThatIsThereIsNotWaitedFor) {
  EXPECT_EQ(*describe(Future<int>::ready_with(3)).get(), "3");
}

TEST(CoroutineTest, ItGoesOnOnTheExecutorOfWhatItAwaited) {
  Promise<int> promise(pool());
  Future<bool> there = runs_on_pool(promise.future());
  promise.set(1);
  EXPECT_TRUE(*there.get());
}

TEST(CoroutineTest, ContinuationsOfItsFutureRunOnThatExecutorToo) {
  Promise<int> promise(pool());
  auto on_pool = describe(promise.future()).then([](Result<std::string>) {
    return pool()->is_worker_thread();
  });
  promise.set(1);
  EXPECT_TRUE(*on_pool.get());
}

// Spec C1.
TEST(CoroutineTest, C1_AnExceptionThatLeavesItBecomesTheError) {
  Promise<int> promise(pool());
  Future<std::string> text = describe(promise.future());
  promise.set(-1);
  const auto failed = text.get();
  EXPECT_EQ(failed.error().code(), ErrorCode::kInternal);
  EXPECT_EQ(failed.error().message().rfind("a coroutine threw: ", 0), 0U);
}

TEST(CoroutineTest, AnErrorIsGivenOn) {
  Promise<int> promise(pool());
  Future<std::string> text = describe(promise.future());
  promise.set(Error(ErrorCode::kTimeout, "late"));
  EXPECT_EQ(text.get().error().code(), ErrorCode::kTimeout);
}

TEST(CoroutineTest, CancellingItCancelsWhatItAwaits) {
  Promise<int> one(pool());
  Promise<int> two(pool());
  std::promise<void> told;
  Future<int> total = sum(one.future(), two.future());
  two.on_cancel([&told] { told.set_value(); });
  one.set(1);
  total.cancel();
  EXPECT_EQ(total.get().error().code(), ErrorCode::kCancelled);
  told.get_future().wait();  // what it awaited: `two` is the coroutine's, and is not read here
}

TEST(CoroutineTest, WhatIsAwaitedAfterACancelIsCancelledAtOnce) {
  Promise<int> one;
  Promise<int> two;
  Future<int> total = sum(one.future(), two.future());
  total.cell()->set(Error(ErrorCode::kCancelled, "from outside"));
  one.set(1);
  EXPECT_TRUE(two.settled());
}

// Spec T12.
TEST(CoroutineTest, T12_AnAbandonedPromiseEndsIt) {
  std::unique_ptr<Promise<int>> promise = std::make_unique<Promise<int>>(pool());
  Future<std::string> text = describe(promise->future());
  promise.reset();
  EXPECT_EQ(text.get().error().code(), ErrorCode::kCancelled);
}

TEST(CoroutineTest, ADroppedFutureLeavesTheCoroutineToItsEnd) {
  Promise<int> promise(pool());
  { Future<std::string> dropped = describe(promise.future()); }
  EXPECT_TRUE(promise.set(1));
}

// Spec H10.
TEST(CoroutineTest, H10_WaitingForItOnItsExecutorIsRefused) {
  Promise<int> promise(pool());
  Promise<int> never(pool());
  auto asked = promise.future().then([&never](Result<int>) {
    Future<std::string> inner = describe(never.future());
    return std::move(inner).get();
  });
  promise.set(1);
  EXPECT_EQ(asked.get().error().code(), ErrorCode::kWouldDeadlock);
}

}  // namespace
}  // namespace tinkex
