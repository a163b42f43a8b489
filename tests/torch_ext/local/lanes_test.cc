#include "torch_ext/local/lanes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <future>
#include <latch>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"

namespace tinkex::torch_ext::local::testing {
namespace {

using ::testing::HasSubstr;

Status failure(std::size_t piece) { return invalid_argument("piece " + std::to_string(piece)); }

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
      std::latch begun(1);
      std::latch later(lanes == 1 ? 0 : 1);
      const Status status = run_lanes(lanes, false, 8, [&](std::size_t piece, std::size_t lane) {
        // The first lane leaves piece 2 to another one, if it can.
        if (lanes > 1 && lane == 0 && piece < 2) begun.wait();
        if (piece == 2) {
          begun.count_down();
          later.wait();
        }
        if (piece == 5) later.count_down();
        return piece == 2 || piece == 5 ? failure(piece) : ok_status();
      });
      ASSERT_FALSE(status);
      EXPECT_EQ(status.error().message(), "piece 2") << lanes;
    }
  }
}

TEST(LanesTest, WhatABodyThrowsIsTheErrorOfItsPiece) {
  const Status status = run_lanes(2, false, 4, [](std::size_t piece, std::size_t) -> Status {
    throw std::runtime_error("thrown by " + std::to_string(piece));
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(), "thrown by 0");
}

/// Tells that the thread on which it was made has ended.
struct ThreadEnd {
  std::promise<void>* ended = nullptr;
  ~ThreadEnd() {
    if (ended != nullptr) ended->set_value();
  }
};

TEST(LanesTest, NothingBeginsBehindAPieceThatHasFailed) {
  std::promise<void> ended;
  const std::shared_future<void> other_lane = ended.get_future().share();
  std::atomic<int> begun = 0;
  const Status status = run_lanes(2, false, 100, [&](std::size_t piece, std::size_t lane) {
    if (lane == 0) {
      ++begun;
      other_lane.wait();
      return ok_status();
    }
    thread_local ThreadEnd end;
    end.ended = &ended;
    return failure(piece);
  });
  EXPECT_FALSE(status);
  EXPECT_LE(begun, 1);  // None, if the other lane was the first.
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
      std::latch later(lanes == 1 ? 0 : 1);
      const LogitsLoss loss = [&](const at::Tensor& logits, const LossInputs& in) {
        const std::int64_t length = in["tokens"].numel();
        if (length == 3) later.wait();  // Datum 5, which is computed before datum 6.
        if (length == 12) later.count_down();
        if (length == 3 || length == 12) throw std::runtime_error("is bad");
        return logits.sum();
      };
      try {
        pass(*model, *adapter, data, "own", true, {}, {1, lanes}, {{"own", loss}});
        FAIL() << "bad datums were taken";
      } catch (const Error& error) {
        EXPECT_THAT(error.message(), HasSubstr("datum 5: the loss 'own'")) << lanes;
      }
    }
  }
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
