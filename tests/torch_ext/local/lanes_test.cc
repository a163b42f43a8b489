#include "torch_ext/local/lanes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"

namespace tinkex::torch_ext::local::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Status failure(std::size_t piece) { return invalid_argument("piece " + std::to_string(piece)); }

/// Something that one lane does and another waits for; not for ever, for the system may have
/// refused the thread of either.
class Event {
 public:
  void happens() { promise_.set_value(); }
  bool arrives() const {
    return happened_.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  }

 private:
  std::promise<void> promise_;
  const std::shared_future<void> happened_ = promise_.get_future().share();
};

TEST(LanesTest, EveryPieceIsDoneOnce) {
  for (const std::size_t lanes : {1, 2, 3, 20}) {
    std::vector<std::atomic<int>> times(17);
    EXPECT_TRUE(run_lanes(lanes, false, times.size(), [&](std::size_t piece, std::size_t lane) {
      EXPECT_LT(lane, lanes);
      ++times[piece];
      return ok_status();
    }));
    for (const auto& each : times) EXPECT_EQ(each, 1);
  }
}

TEST(LanesTest, TheErrorIsThatOfTheFirstPieceThatFailsThoughALaterOneWasFaster) {
  for (const std::size_t lanes : {1, 2, 3}) {
    for (int round = 0; round < 30; ++round) {
      Event begun, later;
      const Status status = run_lanes(lanes, false, 8, [&](std::size_t piece, std::size_t lane) {
        // The first lane leaves piece 2 to another one, if it can.
        if (lanes > 1 && lane == 0 && piece < 2 && !begun.arrives()) return failure(piece);
        if (piece == 2) {
          begun.happens();
          if (lanes > 1 && !later.arrives()) return failure(100);
        }
        if (piece == 5) later.happens();
        return piece == 2 || piece == 5 ? failure(piece) : ok_status();
      });
      ASSERT_FALSE(status);
      ASSERT_EQ(status.error().message(), "piece 2") << lanes;
    }
  }
}

TEST(LanesTest, WhatABodyThrowsIsTheErrorOfItsPiece) {
  const Status status = run_lanes(2, false, 4, [](std::size_t piece, std::size_t) -> Status {
    throw std::runtime_error("thrown by " + std::to_string(piece));
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(), "thrown by 0");
  const Status odd = run_lanes(2, false, 4, [](std::size_t, std::size_t) -> Status { throw 7; });
  ASSERT_FALSE(odd);
  EXPECT_EQ(odd.error().message(), "something was thrown that is no std::exception");
}

/// Tells that the thread on which it was made has ended.
struct ThreadEnd {
  Event* ended = nullptr;
  ~ThreadEnd() {
    if (ended != nullptr) ended->happens();
  }
};

TEST(LanesTest, NothingBeginsBehindAPieceThatHasFailed) {
  Event ended;
  std::atomic<int> begun = 0;
  const Status status = run_lanes(2, false, 100, [&](std::size_t piece, std::size_t lane) {
    ++begun;
    if (lane == 0) return ended.arrives() ? ok_status() : invalid_argument("one lane alone");
    thread_local ThreadEnd end;
    end.ended = &ended;
    return failure(piece);
  });
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), StartsWith("piece "));
  EXPECT_LE(begun, 2);  // The one that has failed, and the one that waited for it.
}

/// New threads get a stack for which there is no room.
class NoThreads {
 public:
  NoThreads() {
    pthread_attr_init(&before_);
    pthread_getattr_default_np(&before_);
    pthread_attr_t huge;
    pthread_attr_init(&huge);
    pthread_attr_setstacksize(&huge, std::size_t{1} << 50);
    pthread_setattr_default_np(&huge);
    pthread_attr_destroy(&huge);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;
  ~NoThreads() {
    pthread_setattr_default_np(&before_);
    pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_;
};

TEST(LanesTest, WithoutFurtherThreadsThisOneDoesAllPieces) {
  const NoThreads none;
  EXPECT_THROW(std::thread([] {}).join(), std::system_error);
  int done = 0;
  EXPECT_TRUE(run_lanes(3, false, 7, [&](std::size_t, std::size_t lane) {
    EXPECT_EQ(lane, 0U);
    ++done;
    return ok_status();
  }));
  EXPECT_EQ(done, 7);
}

TEST(LanesTest, OfTwoBadDatumsTheSameIsNamedWithAnyNumberOfLanes) {
  const auto model = small_model(at::ScalarType::Float);
  const auto adapter = noisy_adapter(*model, rank(4), 31);
  const std::vector<Datum> data = cross_entropy_batch(model->config().vocab_size, 32);
  for (const int lanes : {1, 2, 3}) {
    for (int round = 0; round < 10; ++round) {
      Event later;
      const LogitsLoss loss = [&](const at::Tensor& logits, const LossInputs& in) {
        const std::int64_t length = in["tokens"].numel();
        const bool waits = length == 3 && lanes > 1;  // Datum 5, which is computed before datum 6.
        EXPECT_TRUE(!waits || later.arrives());
        if (length == 12) later.happens();
        if (length == 3 || length == 12) throw std::runtime_error("is bad");
        return logits.sum();
      };
      try {
        pass(*model, *adapter, data, "own", true, {}, {1, lanes}, {{"own", loss}});
        FAIL() << "bad datums were taken";
      } catch (const Error& error) {
        EXPECT_THAT(error.message(), HasSubstr("datum 5: the loss 'own'")) << lanes;
      }
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
