#include "examples/support/patience.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "tinkex/future.h"

namespace sft {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using Clock = std::chrono::steady_clock;

const char kNow[] = "waiting for step 3 for [0-9]+ seconds? now";

/// A result that comes when something has been said so often.
class PatienceTest : public ::testing::Test {
 protected:
  Patience patience(std::chrono::milliseconds gives_up) {
    const auto say = [this](const std::string& text) {
      if (said_.empty()) first_said_ = Clock::now();
      said_.push_back(text);
      if (said_.size() == often_) promise_.set(7);
    };
    return {say, gives_up, 1ms};
  }
  tinkex::Result<int> wait(Patience& patience, std::size_t often) {
    said_.clear();
    often_ = often;
    promise_ = tinkex::Promise<int>();
    if (often == 0) promise_.set(7);
    return patience.wait_for(promise_.future(), "step 3");
  }

  std::vector<std::string> said_;
  Clock::time_point first_said_;

 private:
  std::size_t often_ = 0;
  tinkex::Promise<int> promise_;
};

TEST_F(PatienceTest, WhatIsThereSoonIsWaitedForInSilence) {
  Patience waiting = patience(10min);
  EXPECT_EQ(wait(waiting, 0).value(), 7);
  EXPECT_THAT(said_, IsEmpty());
}

TEST_F(PatienceTest, AServerIsSpokenOfOnceInARun) {
  Patience waiting = patience(10min);
  EXPECT_EQ(wait(waiting, 2).value(), 7);
  EXPECT_THAT(said_, ElementsAre(MatchesRegex(kNow + std::string("; a server that does not answer "
                                                                 "is given up after 10 minutes")),
                                 MatchesRegex(kNow)));
  EXPECT_EQ(wait(waiting, 1).value(), 7);
  EXPECT_THAT(said_, ElementsAre(MatchesRegex(kNow)));
}

TEST_F(PatienceTest, WhereThereIsNoServerNoneIsSpokenOf) {
  Patience waiting = patience(0ms);
  EXPECT_EQ(wait(waiting, 1).value(), 7);
  EXPECT_THAT(said_, ElementsAre(MatchesRegex(kNow)));
}

TEST_F(PatienceTest, OnlyAWaitThatIsLongForItsRunIsSpokenOf) {
  Patience waiting = patience(0ms);
  const auto begun = Clock::now();
  EXPECT_TRUE(wait(waiting, 3).ok());  // After 1, 2 and 4 ms.
  EXPECT_GE(Clock::now() - begun, 4ms);
  const auto later = Clock::now();
  EXPECT_TRUE(wait(waiting, 1).ok());
  EXPECT_GE(first_said_ - later, 8ms);
}

TEST_F(PatienceTest, AnErrorArrivesAsItIs) {
  tinkex::Promise<int> promise;
  promise.set(tinkex::invalid_argument("bad"));
  Patience waiting = patience(0ms);
  EXPECT_EQ(waiting.wait_for(promise.future(), "it").error().message(), "bad");
}

}  // namespace
}  // namespace sft
