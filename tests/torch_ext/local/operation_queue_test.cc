#include "torch_ext/local/operation_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "tests/torch_ext/local/manual_timers.h"

namespace tinkex::torch_ext::local {
namespace {

using std::chrono::milliseconds;
using State = Admission::State;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr milliseconds kHold{30'000};
constexpr milliseconds kGap{600'000};

class OperationQueueTest : public ::testing::Test {
 protected:
  OperationQueueTest() { queue_ = make_queue(100, 1 << 20); }
  ~OperationQueueTest() override { compute_->stop(); }

  std::shared_ptr<OperationQueue> make_queue(std::size_t operations, std::size_t bytes) {
    return std::make_shared<OperationQueue>(OperationQueue::Options{
        .model_id = "m",
        .session_id = "s",
        .futures = futures_,
        .compute = compute_,
        .timers = time_,
        .clock = time_,
        .gap_timeout = kGap,
        .max_operations = operations,
        .max_bytes = bytes,
        .discard_gradients = [this] { ++discarded_; },
        .on_finished =
            [this](const Operation&, const OperationResult&, Clock::duration, Clock::duration) {
              if (log_throws_) throw std::bad_alloc();
            }});
  }

  Operation operation(std::int64_t seq_id, OperationKind kind = OperationKind::kForward,
                      bool fails = false) {
    Operation made;
    made.kind = kind;
    made.seq_id = seq_id;
    made.digest = BodyDigest::of(std::to_string(seq_id) + std::string(to_string(kind)));
    made.bytes = 10;
    made.run = [this, seq_id, fails]() -> OperationResult {
      ran_.push_back(seq_id);
      if (fails) return invalid_argument("bad input");
      return OperationOutput(std::to_string(seq_id));
    };
    return made;
  }

  std::string submit(std::int64_t seq_id, OperationKind kind = OperationKind::kForward,
                     bool fails = false) {
    const Admission admission = queue_->submit(operation(seq_id, kind, fails));
    EXPECT_EQ(admission.state, State::kAccepted) << admission.text;
    return admission.request_id;
  }

  /// The result, waited for: text, or `error: ...`.
  std::string result(const std::string& request_id) {
    std::promise<std::string> promise;
    futures_->poll(request_id, [&](FutureStore::PollState state,
                                   std::shared_ptr<const OperationResult> result) {
      if (state != FutureStore::PollState::kReady) return promise.set_value("none");
      promise.set_value(*result ? std::get<std::string>(**result)
                                : "error: " + result->error().message());
    });
    return promise.get_future().get();
  }

  /// Everything in the lane has run.
  void settle() {
    std::promise<void> done;
    compute_->post("m", [&] { done.set_value(); });
    done.get_future().get();
  }

  std::shared_ptr<ManualTime> time_ = std::make_shared<ManualTime>();
  std::shared_ptr<FutureStore> futures_ =
      FutureStore::create({time_, time_, kHold, std::size_t{1} << 20});
  std::shared_ptr<ComputeThread> compute_ = std::make_shared<ComputeThread>([] {});
  std::shared_ptr<OperationQueue> queue_;
  /// Compute thread, read after settle().
  std::vector<std::int64_t> ran_;
  int discarded_ = 0;
  std::atomic<bool> log_throws_{false};
};

TEST_F(OperationQueueTest, RunsBySeqIdWhateverTheArrival) {
  const std::string third = submit(3);
  const std::string second = submit(2);
  settle();
  EXPECT_THAT(ran_, ElementsAre());
  submit(1);
  EXPECT_EQ(result(third), "3");
  EXPECT_EQ(result(second), "2");
  EXPECT_THAT(ran_, ElementsAre(1, 2, 3));
}

TEST_F(OperationQueueTest, WithoutSeqIdRunsByArrival) {
  submit(0);
  submit(0);
  submit(2);
  settle();
  EXPECT_THAT(ran_, ElementsAre(0, 0));
}

TEST_F(OperationQueueTest, RepeatGivesTheSameRequestAndRunsOnce) {
  const std::string first = submit(1);
  const Admission again = queue_->submit(operation(1));
  EXPECT_EQ(again.state, State::kRepeated);
  EXPECT_EQ(again.request_id, first);
  EXPECT_EQ(result(first), "1");
  EXPECT_EQ(queue_->submit(operation(1)).request_id, first);
  settle();
  EXPECT_THAT(ran_, ElementsAre(1));
}

TEST_F(OperationQueueTest, AnotherRequestUnderAUsedSeqIdIsAConflict) {
  submit(1);
  const Admission other = queue_->submit(operation(1, OperationKind::kOptimStep));
  EXPECT_EQ(other.state, State::kConflict);
  EXPECT_THAT(other.text, HasSubstr("seq_id 1"));
}

TEST_F(OperationQueueTest, FailureUsesItsPlace) {
  const std::string failed = submit(1, OperationKind::kSave, true);
  const std::string next = submit(2);
  EXPECT_EQ(result(failed), "error: bad input");
  EXPECT_EQ(result(next), "2");
}

TEST_F(OperationQueueTest, ExceptionBecomesAFailureOfServerCategory) {
  Operation thrower = operation(1);
  thrower.run = []() -> OperationResult { throw std::runtime_error("out of memory"); };
  const std::string failed = queue_->submit(std::move(thrower)).request_id;
  EXPECT_EQ(result(failed), "error: forward failed: out of memory");
  Operation odd = operation(2);
  odd.run = []() -> OperationResult { throw 7; };
  EXPECT_EQ(result(queue_->submit(std::move(odd)).request_id), "error: forward failed");
}

TEST_F(OperationQueueTest, FailedForwardBackwardFailsTheStepAndNoMore) {
  submit(1, OperationKind::kForwardBackward);
  submit(2, OperationKind::kForwardBackward, true);
  const std::string third = submit(3, OperationKind::kForwardBackward);
  const std::string step = submit(4, OperationKind::kOptimStep);
  const std::string fifth = submit(5, OperationKind::kForwardBackward);
  EXPECT_THAT(result(third), AllOf(HasSubstr("failed (with seq_id 2)"),
                                   HasSubstr("call optim_step, which fails as well")));
  EXPECT_THAT(result(step), AllOf(HasSubstr("failed (with seq_id 2)"),
                                  HasSubstr("this optim_step has ended that step")));
  EXPECT_EQ(result(fifth), "5");
  EXPECT_EQ(discarded_, 1);
  EXPECT_THAT(ran_, ElementsAre(1, 2, 5));
}

TEST_F(OperationQueueTest, FailedForwardOrStepPoisonsNothing) {
  submit(1, OperationKind::kForward, true);
  submit(2, OperationKind::kOptimStep, true);
  EXPECT_EQ(result(submit(3, OperationKind::kForwardBackward)), "3");
  EXPECT_EQ(discarded_, 0);
}

TEST_F(OperationQueueTest, LoadingEndsAFailedStep) {
  submit(1, OperationKind::kForwardBackward, true);
  submit(2, OperationKind::kLoad);
  EXPECT_EQ(result(submit(3, OperationKind::kOptimStep)), "3");
}

TEST_F(OperationQueueTest, GapIsGivenUpAndTheOrderGoesOn) {
  const std::string second = submit(2);
  const std::string fourth = submit(4, OperationKind::kForwardBackward);
  time_->advance(kGap - milliseconds(1));
  settle();
  EXPECT_THAT(ran_, ElementsAre());
  time_->advance(milliseconds(1));
  EXPECT_THAT(result(second), HasSubstr("seq_id 1 never came"));
  EXPECT_THAT(result(fourth), HasSubstr("seq_id 1 never came"));
  EXPECT_THAT(result(submit(5, OperationKind::kOptimStep)), HasSubstr("with seq_id 4"));
  EXPECT_EQ(result(submit(6)), "6");
  EXPECT_EQ(queue_->submit(operation(1)).state, State::kConflict);
}

TEST_F(OperationQueueTest, GapTimeBeginsAnewWhenTheOrderAdvances) {
  submit(3);
  time_->advance(kGap - milliseconds(1));
  submit(1);
  time_->advance(kGap - milliseconds(1));
  submit(2);
  settle();
  EXPECT_THAT(ran_, ElementsAre(1, 2, 3));
  time_->advance(2 * kGap);
  EXPECT_EQ(result(submit(4)), "4");
}

TEST_F(OperationQueueTest, RefusedPlaceIsNotWaitedForAndStaysOpen) {
  queue_->refuse(1, OperationKind::kForwardBackward);
  const std::string corrected = submit(1);
  EXPECT_EQ(result(corrected), "1");
  queue_->refuse(2, OperationKind::kForwardBackward);
  EXPECT_THAT(result(submit(3, OperationKind::kOptimStep)), HasSubstr("with seq_id 2"));
  EXPECT_EQ(result(submit(4)), "4");
}

TEST_F(OperationQueueTest, RefusalReleasesWhatAlreadyWaits) {
  const std::string second = submit(2);
  queue_->refuse(1, OperationKind::kOptimStep);
  EXPECT_EQ(result(second), "2");
}

TEST_F(OperationQueueTest, HeldOperationsAreBoundedButTheGapCanBeFilled) {
  queue_ = make_queue(2, 1 << 20);
  submit(2);
  submit(3);
  const Admission full = queue_->submit(operation(4));
  EXPECT_EQ(full.state, State::kFull);
  EXPECT_EQ(result(submit(1)), "1");
  settle();
  EXPECT_EQ(result(submit(4)), "4");
}

TEST_F(OperationQueueTest, HeldBytesAreBounded) {
  queue_ = make_queue(100, 15);
  submit(2);
  EXPECT_EQ(queue_->submit(operation(3)).state, State::kFull);
}

TEST_F(OperationQueueTest, CloseRunsWhatIsInOrderAndRefusesTheRest) {
  const std::string first = submit(1);
  const std::string third = submit(3);
  Operation last = operation(0, OperationKind::kUnload);
  const Admission closing = queue_->close(std::move(last), Error(ErrorCode::kClosed, "unloaded"));
  EXPECT_EQ(result(first), "1");
  EXPECT_EQ(result(third), "error: unloaded");
  EXPECT_EQ(result(closing.request_id), "0");
  const Admission late = queue_->submit(operation(4));
  EXPECT_EQ(late.state, State::kClosed);
  EXPECT_EQ(late.text, "unloaded");
}

TEST_F(OperationQueueTest, AbandonFailsWhatHasNotBegun) {
  std::promise<void> begin;
  compute_->post("m", [&] { begin.get_future().get(); });
  const std::string first = submit(1);
  queue_->abandon(Error(ErrorCode::kClosed, "gone"));
  begin.set_value();
  EXPECT_EQ(result(first), "error: gone");
  settle();
  EXPECT_THAT(ran_, ElementsAre());
}

TEST_F(OperationQueueTest, TaskOrLogThatThrowsKeepsNothingElseFromRunning) {
  compute_->post("m", [] { throw std::bad_alloc(); });
  compute_->post("other", [] { throw 7; });
  log_throws_ = true;
  EXPECT_EQ(result(submit(1)), "1");
  EXPECT_EQ(result(submit(2)), "2");
}

TEST_F(OperationQueueTest, ManyThreadsInAnyOrderRunInSeqOrder) {
  constexpr int kThreads = 8;
  constexpr int kEach = 200;
  queue_ = make_queue(kThreads * kEach, 1 << 20);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t] {
      for (int i = kEach - 1; i >= 0; --i) submit(1 + t + i * kThreads);
    });
  }
  for (std::thread& thread : threads) thread.join();
  settle();
  ASSERT_EQ(ran_.size(), static_cast<std::size_t>(kThreads * kEach));
  for (std::size_t i = 0; i < ran_.size(); ++i) ASSERT_EQ(ran_[i], static_cast<int>(i) + 1);
}

}  // namespace
}  // namespace tinkex::torch_ext::local
