#include "tinkex/async/poll_loop.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/support/manual_runtime.h"

namespace tinkex::internal {
namespace {

using namespace std::chrono_literals;
using testing::ManualRuntime;

class PollLoopTest : public ::testing::Test {
 protected:
  void TearDown() override { world.close(); }
  void start(const std::string& request_id = "r1") {
    PollTarget target;
    target.request_id = request_id;
    target.http.headers = headers;
    target.what = "optim_step";
    target.limiter = limiter;
    target.max_failing = 60s;
    target.result_bytes = result_bytes;
    target.announced_bytes = announced_bytes;
    target.last_word = last_word;
    loop = PollLoop::start(world.runtime, gate, std::move(target),
                           [this](Result<HttpResponse> reply) { outcome = std::move(reply); });
  }
  bool polling() const { return world.transport->open() == 1; }

  ManualRuntime world;
  std::shared_ptr<PollGate> gate = std::make_shared<PollGate>(8, world.executor);
  std::shared_ptr<PollGate> result_bytes = std::make_shared<PollGate>(100, world.executor);
  std::uint64_t announced_bytes = 0;
  HttpHeaders headers;
  std::shared_ptr<RateLimiter> limiter = std::make_shared<RateLimiter>();
  LastWordPtr last_word = std::make_shared<LastWord>();
  std::shared_ptr<PollLoop> loop;
  std::optional<Result<HttpResponse>> outcome;
};

// Spec H10.
TEST_F(PollLoopTest, H10_AResultEndsTheWait) {
  start();
  EXPECT_EQ(world.transport->front_body(), R"({"allow_metadata_only":true,"request_id":"r1"})");
  world.reply(200, R"({"metrics":{}})");
  ASSERT_TRUE(outcome && outcome->ok());
  EXPECT_EQ((*outcome)->body, R"({"metrics":{}})");
}

// Spec H10.
TEST_F(PollLoopTest, H10_AHeldTryAgainIsAskedAgainAtOnce) {
  start();
  world.clock->set(world.clock->now() + 20s);
  world.reply(200, R"({"type":"try_again","request_id":"r1","queue_state":"active"})");
  EXPECT_TRUE(polling());
  EXPECT_FALSE(outcome);
}

// Spec X8.
// Spec H10.
TEST_F(PollLoopTest, H10_AnswersThatWereNotHeldEarnAGrowingPause) {
  start();
  Clock::duration before{};
  for (int i = 0; i < 5; ++i) {
    world.reply(408, "{}");
    EXPECT_FALSE(polling());
    const Clock::duration delay = world.timers->next_delay();
    EXPECT_GT(delay, before);
    before = delay;
    world.advance(delay);
    EXPECT_TRUE(polling());
  }
}

// Spec H10.
TEST_F(PollLoopTest, H10_APausedQueueIsAskedAgainAfterASecondOrTheServersNumber) {
  start();
  world.reply(200, R"({"type":"try_again","queue_state":"paused_capacity"})");
  EXPECT_EQ(world.timers->next_delay(), 1s);
  world.advance(1s);
  world.reply(200, R"({"type":"try_again","queue_state":"active","retry_after_ms":250})");
  EXPECT_EQ(world.timers->next_delay(), 250ms);
}

// Spec H10.
TEST_F(PollLoopTest, H10_AHintToAskAtOnceIsNoLicenceForAHotLoop) {
  start();
  Clock::duration before{};
  for (int i = 0; i < 5; ++i) {
    world.reply(200, R"({"type":"try_again","retry_after_ms":0})");
    EXPECT_FALSE(polling());
    const Clock::duration delay = world.timers->next_delay();
    EXPECT_GT(delay, before);
    before = delay;
    world.advance(delay);
  }
}

// Spec H10.
TEST_F(PollLoopTest, H10_GoneIsTheEnd) {
  start();
  world.reply(410, R"({"detail":"promise expired"})");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().http_status(), 410);
  EXPECT_EQ(outcome->error().request_id(), "r1");
}

// Spec H10.
TEST_F(PollLoopTest, H10_AFailedOperationReportsTextAndCategory) {
  start();
  world.reply(200, R"({"error":"loss is NaN","category":"user"})");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kRequestFailed);
  EXPECT_EQ(outcome->error().category(), ErrorCategory::kUser);
  EXPECT_NE(outcome->error().message().find("loss is NaN"), std::string::npos);
}

// Spec H10.
TEST_F(PollLoopTest, H10_TheOldestFailureShapeIsUnderstoodToo) {
  start();
  world.reply(200, R"({"status":"failed","error":{"message":"m","category":"server"}})");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().category(), ErrorCategory::kServer);
}

// Spec H10.
TEST_F(PollLoopTest, H10_AServerErrorIsNeverAskedAgainWithoutAPause) {
  start();
  for (int i = 0; i < 4; ++i) {
    world.reply(503, "busy");
    ASSERT_FALSE(outcome);
    EXPECT_FALSE(polling());
    EXPECT_GE(world.timers->next_delay(), 375ms);
    world.advance(world.timers->next_delay());
  }
}

// Spec H10.
TEST_F(PollLoopTest, H10_FailingToAskForTooLongEndsWithTheBudgetInTheText) {
  start();
  for (int i = 0; i < 100 && !outcome; ++i) {
    world.fail(Error(ErrorCode::kConnection, "reset").with_retryable(true));
    if (!outcome) world.advance(world.timers->next_delay());
  }
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kConnection);
  EXPECT_NE(outcome->error().message().find("times in a row"), std::string::npos);
}

TEST_F(PollLoopTest, Trap11_A429FeedsTheSharedLimiter) {
  start();
  world.reply(429, "{}", {{"retry-after-ms", "700"}});
  EXPECT_EQ(limiter->until(), world.clock->now() + 700ms);
  EXPECT_FALSE(outcome);
}

TEST_F(PollLoopTest, AnnouncedSizeIsFollowedByASecondAskWithoutTheFlag) {
  start();
  world.reply(200, R"({"status":"complete_metadata","response_payload_size":7340032})");
  EXPECT_EQ(world.transport->front_body(), R"({"allow_metadata_only":false,"request_id":"r1"})");
  world.reply(200, R"({"status":"complete_metadata","response_payload_size":7340032})");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kDecode);
}

// Spec X3.
TEST_F(PollLoopTest, X3_GarbageInsteadOfJsonIsADecodeError) {
  start();
  world.reply(200, "<html>");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kDecode);
}

TEST_F(PollLoopTest, OtherClientErrorsEndTheWaitAtOnce) {
  for (const int status : {400, 401, 403, 404, 409, 413, 422, 425}) {
    outcome.reset();
    start();
    world.reply(status, R"({"detail":"no"})");
    ASSERT_TRUE(outcome && !outcome->ok()) << status;
    EXPECT_EQ(outcome->error().http_status(), status);
  }
}

TEST_F(PollLoopTest, CancelStopsAPollOnTheWire) {
  start();
  loop->cancel();
  world.executor->run_all();
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kCancelled);
  EXPECT_EQ(world.transport->open(), 0u);
}

TEST_F(PollLoopTest, CancelCutsAPauseShort) {
  start();
  world.reply(200, R"({"type":"try_again","queue_state":"paused_capacity"})");
  loop->cancel();
  world.executor->run_all();
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kCancelled);
  world.advance(2s);
  EXPECT_EQ(world.transport->open(), 0u);
}

TEST_F(PollLoopTest, ThePollGateBoundsWhatIsOnTheWireAndServesTheOldestFirst) {
  gate = std::make_shared<PollGate>(2, world.executor);
  std::vector<int> finished;
  std::vector<std::shared_ptr<PollLoop>> loops;
  for (int i = 0; i < 5; ++i) {
    PollTarget target;
    target.request_id = "r" + std::to_string(i);
    loops.push_back(PollLoop::start(world.runtime, gate, std::move(target),
                                    [&finished, i](const auto&) { finished.push_back(i); }));
  }
  while (world.transport->open() > 0) {
    EXPECT_LE(world.transport->open(), 2u);
    world.reply(200, "{}");
  }
  EXPECT_EQ(finished, (std::vector<int>{0, 1, 2, 3, 4}));
}

// Spec H10.
TEST_F(PollLoopTest, H10_TheBudgetOfFailuresBeginsWithTheFirstOne) {
  start();
  for (int i = 0; i < 20; ++i) {  // far longer than the budget, and healthy
    world.clock->set(world.clock->now() + 45s);
    world.fail(Error(ErrorCode::kTimeout, "held").with_retryable(true));
    ASSERT_TRUE(polling());
  }
  world.reply(503, "{}");
  EXPECT_FALSE(outcome) << "one failure ended the wait";
  world.advance(world.timers->next_delay());
  world.reply(200, R"({"metrics":{}})");
  EXPECT_TRUE(outcome && outcome->ok());
}

// Spec T8.
TEST_F(PollLoopTest, T8_AHostThatTakesNoConnectionIsGivenUp) {
  start();
  for (int i = 0; i < 100 && !outcome; ++i) {
    ASSERT_TRUE(polling());
    world.clock->set(world.clock->now() + 5s);
    world.fail(
        Error(ErrorCode::kTimeout, "no connection").with_retryable(true).with_not_accepted(true));
    ASSERT_TRUE(outcome || !polling()) << "asked again without a pause";
    if (!outcome) world.advance(world.timers->next_delay());
  }
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_NE(outcome->error().message().find("times in a row"), std::string::npos);
  EXPECT_FALSE(outcome->error().not_accepted()) << "the operation was, before it was asked about";
}

// Spec T8.
TEST_F(PollLoopTest, T8_AServerThatNeverAnswersAnyPollIsGivenUp) {
  start();
  for (int i = 0; i < 200 && !outcome; ++i) {
    world.clock->set(world.clock->now() + 45s);
    world.fail(Error(ErrorCode::kTimeout, "held").with_retryable(true));
  }
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kTimeout);
  EXPECT_NE(outcome->error().message().find("never answered"), std::string::npos);
}

TEST_F(PollLoopTest, AFailuresTextIsOneLineWithoutCredentials) {
  headers = {{"X-Gateway-Token", "a/gateway+token"}};
  start();
  world.reply(
      200, "{\"error\":\"bad\\nkey tml-abcdef a/gateway+token\\u001b[2J\",\"category\":\"user\"}");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_NE(outcome->error().message().find("bad key *** ***"), std::string::npos)
      << outcome->error().message();
}

// Spec H10.
TEST_F(PollLoopTest, H10_ALargeResultIsFetchedWhenThereIsRoomForItsBytes) {
  bool other_is_in = false;
  result_bytes->enter([&other_is_in] { other_is_in = true; }, 60);
  ASSERT_TRUE(other_is_in);
  start();
  world.reply(200, R"({"status":"complete_metadata","response_payload_size":50})");
  EXPECT_FALSE(polling()) << "60 and 50 bytes are more than 100";
  result_bytes->leave(60);
  world.executor->run_all();
  EXPECT_EQ(world.transport->front_body(), R"({"allow_metadata_only":false,"request_id":"r1"})");
  bool third_is_in = false;
  result_bytes->enter([&third_is_in] { third_is_in = true; }, 60);
  world.reply(200, R"({"metrics":{}})");
  world.executor->run_all();
  EXPECT_TRUE(outcome && outcome->ok());
  EXPECT_TRUE(third_is_in) << "the room is given back";
  result_bytes->leave(60);
}

// Spec H10.
TEST_F(PollLoopTest, H10_AResultAboveTheWholeBudgetIsFetchedAlone) {
  start();
  world.reply(200, R"({"status":"complete_metadata","response_payload_size":99999999999999999})");
  ASSERT_TRUE(polling());
  world.reply(200, R"({"metrics":{}})");
  EXPECT_TRUE(outcome && outcome->ok());
}

TEST_F(PollLoopTest, ASizeThatIsKnownFromTheStartSavesTheQuestionForIt) {
  announced_bytes = 50;
  start();
  EXPECT_EQ(world.transport->front_body(), R"({"allow_metadata_only":false,"request_id":"r1"})");
}

// Spec T12.
TEST_F(PollLoopTest, T12_ACancelledFetchLeavesItsPlaceInTheQueueForBytes) {
  result_bytes->enter([] {}, 100);
  start();
  world.reply(200, R"({"status":"complete_metadata","response_payload_size":50})");
  loop->cancel();
  result_bytes->leave(100);
  world.executor->run_all();
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kCancelled);
  bool next_is_in = false;
  result_bytes->enter([&next_is_in] { next_is_in = true; }, 100);
  EXPECT_TRUE(next_is_in);
}

// Spec C3.
TEST_F(PollLoopTest, C3_AResultTakesTheLastWordBackBeforeAnybodyGoesOnWithIt) {
  const std::string paused = R"({"type":"try_again","queue_state":"paused_capacity"})";
  for (const std::string end : {R"({"metrics":{}})", R"({"error":"bad","category":"user"})"}) {
    outcome.reset();
    start();
    world.reply(200, paused);
    EXPECT_EQ(last_word->text(), "optim_step waits on the server: paused_capacity");
    world.advance(1s);
    world.reply(200, end);
    ASSERT_TRUE(outcome);
    EXPECT_EQ(last_word->text(), "") << end;
  }
}

// Spec C3.
TEST_F(PollLoopTest, C3_AResultThatWaitsForRoomIsNotHeldUpByTheServer) {
  result_bytes->enter([] {}, 100);
  start();
  world.reply(503, "{}");
  EXPECT_NE(last_word->text(), "");
  world.advance(world.timers->next_delay());
  world.reply(200, R"({"status":"complete_metadata","response_payload_size":50})");
  EXPECT_EQ(last_word->text(), "");
  result_bytes->leave(100);
}

// Spec C3.
TEST_F(PollLoopTest, C3_AChunkThatIsWellDoesNotHushAnothersTrouble) {
  const auto body = [](const std::string& id) {
    return R"({"allow_metadata_only":true,"request_id":")" + id + "\"}";
  };
  const auto answer = [&](const std::string& id, Result<HttpResponse> reply) {
    world.transport->answer(body(id), std::move(reply));
    world.executor->run_all();
  };
  start("ill");
  start("well");
  answer("ill", HttpResponse{.status = 503, .headers = {}, .body = R"({"detail":"moving"})"});
  const std::string trouble = last_word->text();
  EXPECT_NE(trouble.find("moving"), std::string::npos) << trouble;
  answer("well", Error(ErrorCode::kTimeout, "held").with_retryable(true));
  EXPECT_EQ(last_word->text(), trouble);
  answer("well", HttpResponse{.status = 503, .headers = {}, .body = R"({"detail":"later"})"});
  EXPECT_NE(last_word->text().find("later"), std::string::npos) << "the latest word counts";
  world.advance(500ms);
  answer("well", HttpResponse{.status = 200, .headers = {}, .body = R"({"metrics":{}})"});
  EXPECT_EQ(last_word->text(), trouble) << "the other one's still stands";
}

// Spec T9.
TEST_F(PollLoopTest, T9_ThatPollsHaveToWaitIsToldOnce) {
  int told = 0;
  PollGate narrow(1, world.executor, [&told] { ++told; });
  narrow.enter([] {});
  EXPECT_EQ(told, 0);
  narrow.enter([] {});
  narrow.enter([] {});
  EXPECT_EQ(told, 1);
}

}  // namespace
}  // namespace tinkex::internal
