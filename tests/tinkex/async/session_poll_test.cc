#include "tinkex/async/session_poll.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/manual_runtime.h"

namespace tinkex::internal {
namespace {

using namespace std::chrono_literals;
using testing::ManualRuntime;

/// Spec T9 and the ruling on many samples of one session: one poll for all of them.
class SessionPollTest : public ::testing::Test {
 protected:
  SessionPollTest() { restart(); }
  void TearDown() override { world.close(); }

  void restart() {
    SessionTarget target;
    target.sampling_session_id = "s1";
    target.limiter = limiter;
    target.polls = std::make_shared<PollGate>(8, world.executor);
    poll = std::make_shared<SessionPoll>(world.runtime, std::move(target));
  }
  void wait_for(const std::string& id, const void* owner = nullptr,
                const LastWordPtr& last_word = nullptr) {
    const auto ready = [this, id](std::uint64_t bytes) {
      told.push_back(id + ":" + std::to_string(bytes));
    };
    poll->wait_for(id, owner, ready, last_word);
  }
  nlohmann::json asked() const { return nlohmann::json::parse(world.transport->front_body()); }
  void settle(const std::string& completions, std::int64_t cursor) {
    world.reply(
        200, R"({"completions":[)" + completions + R"(],"cursor":)" + std::to_string(cursor) + "}");
  }
  static std::string finished(const std::string& id) {
    return R"({"state":"finished","request_id":")" + id + "\"}";
  }

  ManualRuntime world;
  std::shared_ptr<RateLimiter> limiter = std::make_shared<RateLimiter>();
  std::shared_ptr<SessionPoll> poll;
  std::vector<std::string> told;
};

// Spec T9.
TEST_F(SessionPollTest, T9_OnePollServesEverybodyWhoWaits) {
  for (const char* id : {"a", "b", "c"}) wait_for(id);
  EXPECT_EQ(world.transport->open(), 1u);
  EXPECT_EQ(asked()["target"]["sampling_session_id"], "s1");
  EXPECT_EQ(asked()["prev_cursor"], 0);
  EXPECT_FALSE(asked().contains("timeout"));
  settle(finished("a") + R"(,{"state":"failed","request_id":"c"})", 7);
  EXPECT_EQ(told, (std::vector<std::string>{"a:0", "c:0"}));
  EXPECT_EQ(asked()["prev_cursor"], 7) << "it goes on for the one that is left";
}

TEST_F(SessionPollTest, TheAnnouncedSizeIsHandedOn) {
  wait_for("a");
  settle(R"({"state":"finished","request_id":"a","response_payload_uncompressed_size":123})", 1);
  EXPECT_EQ(told, std::vector<std::string>{"a:123"});
}

TEST_F(SessionPollTest, AFutureThatIsReportedBeforeItsWaiterComesIsRemembered) {
  wait_for("a");
  settle(finished("b"), 1);
  wait_for("b");
  EXPECT_EQ(told, std::vector<std::string>{"b:0"});
}

// Spec X3.
TEST_F(SessionPollTest, X3_AFutureWithALongIdIsAskedForOnItsOwn) {
  const std::string id(257, 'i');
  wait_for(id);
  EXPECT_EQ(told, std::vector<std::string>{id + ":0"});
  wait_for("a");
  settle(finished(id) + "," + finished("a"), 1);
  EXPECT_EQ(told.size(), 2u) << "of the long one nothing is remembered";
}

TEST_F(SessionPollTest, WithoutWaitersItReportsWhatWasFetchedAndSleeps) {
  wait_for("a");
  settle(finished("a"), 1);
  EXPECT_EQ(world.transport->open(), 0u);
  poll->retrieved("a");
  EXPECT_EQ(asked()["retrieved_request_ids"], nlohmann::json::array({"a"}));
  EXPECT_EQ(asked()["timeout"], 0.0);
  settle("", 1);
  EXPECT_EQ(world.transport->open(), 0u);
  world.advance(3600s);
  EXPECT_EQ(world.transport->open(), 0u);
}

// Spec T12.
TEST_F(SessionPollTest, T12_AForgottenFutureIsNotReportedToAnybody) {
  wait_for("a");
  poll->forget("a", nullptr);
  settle(finished("a"), 1);
  EXPECT_TRUE(told.empty());
  EXPECT_EQ(world.transport->open(), 0u);
}

// Spec T12.
TEST_F(SessionPollTest, T12_WhoGetsAnIdThatAnotherWaitsForAsksForItself) {
  const int first = 0;
  const int second = 0;
  wait_for("a", &first);
  wait_for("a", &second);
  EXPECT_EQ(told, std::vector<std::string>{"a:0"}) << "the second";
  poll->forget("a", &second);  // it was cancelled; the first still waits
  settle(finished("a"), 1);
  EXPECT_EQ(told, (std::vector<std::string>{"a:0", "a:0"}));
}

TEST_F(SessionPollTest, AServerThatRepeatsItselfIsNotAskedInAHotLoop) {
  wait_for("a");
  settle(finished("x"), 0);
  EXPECT_EQ(world.transport->open(), 0u) << "neither a waiter nor a new cursor";
  world.advance(2s);
  EXPECT_EQ(world.transport->open(), 1u);
}

// Spec T9.
TEST_F(SessionPollTest, T9_ACursorThatMovesWithoutNewsIsNoReasonToHurry) {
  wait_for("a");
  settle("", 1);
  EXPECT_EQ(world.transport->open(), 0u);
  world.advance(2s);
  settle(finished("x"), 2);
  EXPECT_EQ(world.transport->open(), 0u);
  world.advance(2s);
  EXPECT_EQ(world.transport->open(), 1u);
}

// Spec H10.
TEST_F(SessionPollTest, H10_AServerThatHoldsEveryPollAndNeverAnswersIsGivenUp) {
  wait_for("a");
  for (int i = 0; i < 200 && told.empty(); ++i) {
    world.clock->set(world.clock->now() + 45s);
    world.fail(Error(ErrorCode::kTimeout, "held").with_retryable(true));
  }
  EXPECT_EQ(told, std::vector<std::string>{"a:0"});
}

// Spec H10.
TEST_F(SessionPollTest, H10_ABillingPauseWithoutEndIsGivenUp) {
  wait_for("a");
  for (int i = 0; i < 2000 && told.empty(); ++i) {
    world.reply(402, "{}");
    world.advance(5s);
  }
  EXPECT_EQ(told, std::vector<std::string>{"a:0"});
}

TEST_F(SessionPollTest, WhoHasWaitedForLongAsksForItselfBecauseAReportMayBeLost) {
  wait_for("a");
  for (int i = 0; i < 30 && told.empty(); ++i) {
    world.clock->set(world.clock->now() + 30s);
    settle("", 0);
  }
  EXPECT_EQ(told, std::vector<std::string>{"a:0"});
}

TEST_F(SessionPollTest, AReportThatOnlyAcknowledgesIsNotRepeated) {
  wait_for("a");
  settle(finished("a"), 1);
  poll->retrieved("a");
  world.fail(Error(ErrorCode::kTimeout, "held").with_retryable(true));
  EXPECT_EQ(world.transport->open(), 0u);
  world.advance(3600s);
  EXPECT_EQ(world.transport->open(), 0u);
}

TEST_F(SessionPollTest, AFailureBeforeItWentIdleDoesNotCountLater) {
  wait_for("a");
  settle(finished("a"), 1);
  poll->retrieved("a");
  world.fail(Error(ErrorCode::kConnection, "reset").with_retryable(true));
  world.advance(3600s);
  wait_for("b");
  world.reply(503, "{}");
  world.advance(60s);
  EXPECT_EQ(world.transport->open(), 1u) << "it is asked again";
  settle(finished("b"), 2);
  EXPECT_EQ(told, (std::vector<std::string>{"a:0", "b:0"}));
}

// Spec H10.
TEST_F(SessionPollTest, H10_FailuresAreAskedAgainWithPausesAndFeedTheLimiter) {
  wait_for("a");
  world.reply(429, "{}", {{"retry-after", "3"}});
  EXPECT_EQ(world.transport->open(), 0u);
  EXPECT_GE(limiter->until(), world.clock->now() + 3s);
  world.advance(30s);
  EXPECT_EQ(world.transport->open(), 1u);
  world.reply(503, "{}");
  world.advance(30s);
  world.fail(Error(ErrorCode::kConnection, "reset").with_retryable(true));
  world.advance(30s);
  world.reply(200, "not json");
  world.advance(30s);
  settle(finished("a"), 1);
  EXPECT_EQ(told, std::vector<std::string>{"a:0"});
}

// Spec C3.
TEST_F(SessionPollTest, C3_WhatThePollSuffersFromIsToldToAllWhoWait) {
  const auto first = std::make_shared<LastWord>();
  const auto second = std::make_shared<LastWord>();
  wait_for("a", nullptr, first);
  world.reply(503, R"({"detail":"moving"})");
  EXPECT_NE(first->text().find("moving"), std::string::npos) << first->text();
  wait_for("b", nullptr, second);
  EXPECT_EQ(second->text(), first->text()) << "who comes during the pause hears of it too";
  world.advance(30s);
  world.reply(402, R"({"detail":"pay first"})");
  EXPECT_NE(second->text().find("pay first"), std::string::npos) << second->text();
  world.advance(5s);
  settle("", 1);
  EXPECT_EQ(first->text(), "");
  EXPECT_EQ(second->text(), "");
}

// Spec C3.
TEST_F(SessionPollTest, C3_APollThatIsHeldOrGivenUpIsNoTroubleAnyMore) {
  const auto last_word = std::make_shared<LastWord>();
  wait_for("a", nullptr, last_word);
  world.fail(Error(ErrorCode::kConnection, "reset").with_retryable(true));
  EXPECT_NE(last_word->text().find("reset"), std::string::npos) << last_word->text();
  world.advance(30s);
  world.fail(Error(ErrorCode::kTimeout, "held").with_retryable(true));
  EXPECT_EQ(last_word->text(), "");
  world.reply(503, "{}");
  EXPECT_NE(last_word->text(), "");
  world.advance(30s);
  world.reply(404, "{}");
  EXPECT_EQ(told, std::vector<std::string>{"a:0"}) << "it asks for itself";
  EXPECT_EQ(last_word->text(), "");
}

TEST_F(SessionPollTest, APollThatIsHeldTooLongIsAskedAgainAtOnce) {
  wait_for("a");
  world.fail(Error(ErrorCode::kTimeout, "held").with_retryable(true));
  EXPECT_EQ(world.transport->open(), 1u);
}

TEST_F(SessionPollTest, AServerThatDoesNotHoldThePollIsNotAskedInAHotLoop) {
  wait_for("a");
  for (int i = 0; i < 5; ++i) {
    settle("", 0);
    EXPECT_EQ(world.transport->open(), 0u) << i;
    world.advance(2s);
    EXPECT_EQ(world.transport->open(), 1u) << i;
  }
}

TEST_F(SessionPollTest, AServerThatRefusesTheCallSendsEverybodyToAskForThemselves) {
  for (const int status : {401, 404, 422}) {
    restart();
    told.clear();
    wait_for("a");
    wait_for("b");
    world.reply(status, "{}");
    wait_for("c");
    EXPECT_EQ(told, (std::vector<std::string>{"a:0", "b:0", "c:0"})) << status;
    EXPECT_EQ(world.transport->open(), 0u);
  }
}

TEST_F(SessionPollTest, FailuresWithoutEndSendEverybodyToAskForThemselves) {
  wait_for("a");
  for (int i = 0; i < 100 && told.empty(); ++i) {
    world.reply(500, "{}");
    world.advance(60s);
  }
  EXPECT_EQ(told, std::vector<std::string>{"a:0"});
}

TEST_F(SessionPollTest, ClosingTheServiceLetsEverybodyLearnIt) {
  wait_for("a");
  world.close();
  EXPECT_EQ(told, std::vector<std::string>{"a:0"});
}

}  // namespace
}  // namespace tinkex::internal
