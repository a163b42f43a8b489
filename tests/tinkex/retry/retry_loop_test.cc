#include "tinkex/retry/retry_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <optional>
#include <string>

#include "tests/support/manual_runtime.h"

namespace tinkex::internal {
namespace {

using namespace std::chrono_literals;
using testing::ManualRuntime;

class RetryLoopTest : public ::testing::Test {
 protected:
  void TearDown() override { world.close(); }
  void start(RetryOptions options, bool wait_for_limiter = false) {
    RetryableRequest request;
    request.retry = options;
    request.what = "sample";
    request.limiter = limiter;
    request.wait_for_limiter = wait_for_limiter;
    request.done_before = done_before;
    request.most_attempts_unasked = most_attempts_unasked;
    request.other_form = other_form;
    request.last_word = last_word;
    request.withdraw_in_doubt = withdraw_in_doubt;
    loop = std::make_shared<RetryLoop>(world.runtime, std::move(request));
    loop->start([this](Result<HttpResponse> reply) { outcome = std::move(reply); });
  }

  ManualRuntime world;
  bool withdraw_in_doubt = false;
  std::shared_ptr<RateLimiter> limiter = std::make_shared<RateLimiter>();
  LastWordPtr last_word = std::make_shared<LastWord>();
  std::shared_ptr<RetryLoop> loop;
  std::optional<DoneBefore> done_before;
  int most_attempts_unasked = 1'000;
  std::optional<OtherForm> other_form;
  std::optional<Result<HttpResponse>> outcome;
};

// Spec S11.
TEST_F(RetryLoopTest, S11_OneAttemptMeansOneRequestWhateverTheServerSays) {
  for (const int status : {429, 500, 503, 408}) {
    outcome.reset();
    const std::size_t before = world.transport->sent();
    start({.max_attempts = 1});
    world.reply(status, "{}");
    world.advance(120s);
    EXPECT_EQ(world.transport->sent() - before, 1u) << status;
    ASSERT_TRUE(outcome && !outcome->ok());
    EXPECT_TRUE(outcome->error().retryable());
    EXPECT_EQ(outcome->error().http_status(), status);
  }
}

TEST_F(RetryLoopTest, GivesUpWhenTheCountIsSpentAndSaysSo) {
  start({.max_attempts = 3});
  for (int i = 0; i < 3; ++i) {
    world.reply(500, R"({"detail":"broken"})");
    world.advance(20s);
  }
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_NE(outcome->error().message().find("gave up after 3 attempts in "), std::string::npos);
  EXPECT_NE(outcome->error().message().find("broken"), std::string::npos);
}

TEST_F(RetryLoopTest, GivesUpWhenTheTimeIsSpent) {
  start({.max_attempts = 1000, .max_elapsed = 5s});
  for (int i = 0; i < 1000 && !outcome; ++i) {
    world.reply(500, "");
    if (!outcome) world.advance(world.timers->next_delay());
  }
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_LT(world.transport->sent(), 20u);
}

TEST_F(RetryLoopTest, HonoursRetryAfterUpToTheCap) {
  start({.max_attempts = 5, .max_retry_after = 2s});
  world.reply(503, "", {{"retry-after", "1.5"}});
  EXPECT_EQ(world.timers->next_delay(), 1500ms);
  world.advance(1500ms);
  world.reply(503, "", {{"retry-after", "600"}});
  EXPECT_EQ(world.timers->next_delay(), 2s);
}

TEST_F(RetryLoopTest, AServerThatSaysWhenToAskAgainIsAskedMoreOftenThanOneThatIsBroken) {
  most_attempts_unasked = 2;
  start({.max_attempts = 8});
  for (int i = 0; i < 5; ++i) {
    world.reply(503, R"({"detail":"loading"})", {{"retry-after", "1"}});
    ASSERT_FALSE(outcome) << i;
    world.advance(20s);
  }
  world.reply(500, "{}");
  ASSERT_FALSE(outcome);
  world.advance(20s);
  world.reply(500, "{}");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().message(),
            "gave up after 7 attempts in 120000 ms (allowed: 2 without a Retry-After, 8 in all, "
            "300000 ms): sample: the server answered 500: {}");
}

// Spec S10.
TEST_F(RetryLoopTest, S10_A429SetsTheWindowAndTheNextRequestWaitsForIt) {
  start({.max_attempts = 1});
  world.reply(429, "{}", {{"retry-after-ms", "120"}});
  start({.max_attempts = 1}, /*wait_for_limiter=*/true);
  EXPECT_EQ(world.transport->open(), 0u);
  world.advance(119ms);
  EXPECT_EQ(world.transport->open(), 0u);
  world.advance(1ms);
  EXPECT_EQ(world.transport->open(), 1u);
}

// Spec S7.
TEST_F(RetryLoopTest, S7_AWindowThatGrowsDuringTheWaitIsRespected) {
  limiter->extend_until(world.clock->now() + 100ms);
  start({.max_attempts = 1}, /*wait_for_limiter=*/true);
  limiter->extend_until(world.clock->now() + 300ms);
  world.advance(100ms);
  EXPECT_EQ(world.transport->open(), 0u);
  world.advance(200ms);
  EXPECT_EQ(world.transport->open(), 1u);
}

// Spec C3.
TEST_F(RetryLoopTest, C3_ThatABackOffHoldsItBackIsSaidUntilItLeaves) {
  limiter->extend_until(world.clock->now() + 100ms);
  start({.max_attempts = 1}, /*wait_for_limiter=*/true);
  EXPECT_NE(last_word->text().find("an earlier 429"), std::string::npos) << last_word->text();
  world.advance(100ms);
  ASSERT_EQ(world.transport->open(), 1u);
  EXPECT_EQ(last_word->text(), "");
}

// Spec C3.
TEST_F(RetryLoopTest, C3_WhatTheServerSaidOfTheRequestItselfOutlivesALongerBackOff) {
  start({.max_attempts = 3}, /*wait_for_limiter=*/true);
  world.reply(429, R"({"detail":"too many tokens"})", {{"retry-after", "1"}});
  limiter->extend_until(world.clock->now() + 60s);
  world.advance(10s);
  EXPECT_EQ(world.transport->open(), 0u) << "it is held back";
  EXPECT_NE(last_word->text().find("too many tokens"), std::string::npos) << last_word->text();
}

// Spec C3.
TEST_F(RetryLoopTest, C3_ARequestThatSucceedsDoesNotHushAnothersTrouble) {
  start({.max_attempts = 3});
  world.reply(503, R"({"detail":"moving"})");
  const auto ill = loop;
  const std::string trouble = last_word->text();
  EXPECT_NE(trouble.find("moving"), std::string::npos) << trouble;
  start({.max_attempts = 3});
  world.reply(200, "{}");
  EXPECT_EQ(last_word->text(), trouble);
  world.advance(20s);
  world.reply(400, "{}");
  EXPECT_EQ(last_word->text(), "") << "who is refused has an error to tell";
}

TEST_F(RetryLoopTest, AConflictIsRepeatedOnlyAfterAnUnknownOutcome) {
  start({.max_attempts = 5});
  world.reply(409, "{}");
  ASSERT_TRUE(outcome);
  outcome.reset();
  start({.max_attempts = 5});
  world.fail(Error(ErrorCode::kTimeout, "no reply").with_retryable(true));
  world.advance(2s);
  world.reply(409, "{}");
  EXPECT_FALSE(outcome);
}

TEST_F(RetryLoopTest, CancelDuringAPauseEndsItAtOnce) {
  start({.max_attempts = 5});
  world.reply(500, "");
  loop->cancel();
  world.executor->run_all();
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kCancelled);
  world.advance(60s);
  EXPECT_EQ(world.transport->sent(), 1u);
}

TEST_F(RetryLoopTest, AClosedServiceSendsNothing) {
  world.runtime->closed.store(true);
  start({});
  EXPECT_FALSE(outcome) << "never inside start()";
  world.executor->run_all();
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kClosed);
  EXPECT_EQ(world.transport->sent(), 0u);
}

TEST_F(RetryLoopTest, AConflictAfterALostReplyMeansThatTheSaveWasDone) {
  done_before = {.reply = R"({"path":"tinker://m/weights/w"})"};
  start({.max_attempts = 3});
  world.fail(Error(ErrorCode::kConnection, "reset").with_retryable(true));
  world.advance(1s);
  world.reply(409, R"({"detail":"exists"})");
  ASSERT_TRUE(outcome && outcome->ok());
  EXPECT_EQ((*outcome)->body, done_before->reply);
}

TEST_F(RetryLoopTest, AConflictOfTheFirstAttemptIsTheCallersMistake) {
  done_before = {.reply = "{}"};
  start({.max_attempts = 3});
  world.reply(409, R"({"detail":"exists"})");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().http_status(), 409);
}

TEST_F(RetryLoopTest, AConflictThatIsNotAboutTheNameDoesNotMeanThatTheSaveWasDone) {
  done_before = {.reply = "{}", .doubt = "nobody can tell", .name = "c"};
  for (const char* conflict :
       {R"({"detail":"Sequence conflict: expected 3"})", R"({"detail":"seq_id 2 is in the past"})",
        "<h1>409 Conflict</h1>", ""}) {
    outcome.reset();
    start({.max_attempts = 3});
    world.reply(503, "{}");
    world.advance(1s);
    world.reply(409, conflict);
    ASSERT_TRUE(outcome && !outcome->ok()) << conflict;
    EXPECT_EQ(outcome->error().http_status(), 409);
    EXPECT_THAT(outcome->error().message(), ::testing::HasSubstr("nobody can tell"));
  }
}

TEST_F(RetryLoopTest, ANameThatIsQuotedInAConflictMakesItNotOneOfSequences) {
  done_before = {.reply = "{}", .doubt = "nobody can tell", .name = "Sequence-tagger"};
  start({.max_attempts = 3});
  world.reply(503, "{}");
  world.advance(1s);
  world.reply(409, R"({"detail":"Checkpoint 'Sequence-tagger' already exists for model 'm'"})");
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->ok());
}

TEST_F(RetryLoopTest, AConflictThatPassesIsAskedAgainEvenOfASave) {
  done_before = {.reply = R"({"path":"tinker://m/weights/w"})"};
  start({.max_attempts = 3});
  world.reply(503, "{}");
  world.advance(1s);
  world.reply(409, R"({"detail":"in progress"})", {{"x-should-retry", "true"}});
  world.advance(10s);
  world.reply(200, R"({"path":"the server's"})");
  ASSERT_TRUE(outcome && outcome->ok());
  EXPECT_EQ((*outcome)->body, R"({"path":"the server's"})");
}

TEST_F(RetryLoopTest, AConflictThatMayBeOlderThanTheLostReplyEndsTheSaveInDoubt) {
  done_before = {.doubt = "either it was saved or it is older"};
  start({.max_attempts = 3});
  world.reply(503, "{}");
  world.advance(1s);
  world.reply(409, R"({"detail":"exists"})");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().http_status(), 409);
  EXPECT_FALSE(outcome->error().not_accepted());
  EXPECT_THAT(outcome->error().message(), ::testing::HasSubstr("either it was saved"));
  EXPECT_THAT(outcome->error().message(), ::testing::HasSubstr("exists"));
}

TEST_F(RetryLoopTest, ThatNothingIsLeftAfterAnUnknownOutcomeMeansThatItWasDeleted) {
  done_before = {.status = 404, .reply = ""};
  for (const int unknown : {0, 502}) {
    outcome.reset();
    start({.max_attempts = 3});
    if (unknown == 0) {
      world.fail(Error(ErrorCode::kConnection, "reset").with_retryable(true));
    } else {
      world.reply(unknown, "");
    }
    world.advance(2s);
    world.reply(404, "{}");
    ASSERT_TRUE(outcome && outcome->ok()) << unknown;
  }
  for (const int known : {0, 429}) {
    outcome.reset();
    start({.max_attempts = 3});
    if (known != 0) world.reply(known, "{}");
    world.advance(2s);
    world.reply(404, "{}");
    ASSERT_TRUE(outcome && !outcome->ok()) << known;
    EXPECT_EQ(outcome->error().http_status(), 404);
  }
}

TEST_F(RetryLoopTest, AProxysWordThatNothingIsThereDoesNotMeanThatItWasDeleted) {
  done_before = {.status = 404, .reply = "", .doubt = "may be a proxy's"};
  start({.max_attempts = 3});
  world.reply(502, "");
  world.advance(2s);
  world.reply(404, "404 page not found");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().http_status(), 404);
  EXPECT_THAT(outcome->error().message(), ::testing::HasSubstr("may be a proxy's"));
}

// Spec T12.
TEST_F(RetryLoopTest, T12_WithdrawnBetweenAttemptsThatWereRefusedItEndsAtOnce) {
  start({.max_attempts = 5});
  world.reply(429, "{}");
  loop->withdraw();
  world.executor->run_all();
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kCancelled);
  EXPECT_TRUE(outcome->error().not_accepted());
  world.advance(600s);
  EXPECT_EQ(world.transport->sent(), 1u);
}

// Spec T12.
TEST_F(RetryLoopTest, T12_WithdrawnAfterALostReplyItGoesOnToLearnWhatBecameOfIt) {
  start({.max_attempts = 5});
  world.fail(Error(ErrorCode::kConnection, "reset").with_retryable(true));
  loop->withdraw();
  world.executor->run_all();
  EXPECT_FALSE(outcome);
  world.advance(20s);
  world.transport->uploading = true;
  loop->withdraw();
  EXPECT_EQ(world.transport->open(), 1u) << "a repeat is not broken off either";
  world.reply(200, "{}");
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->ok());
}

// Spec T12.
TEST_F(RetryLoopTest, T12_WhatMayBeWithdrawnInDoubtIsNotSentAgain) {
  withdraw_in_doubt = true;
  start({.max_attempts = 5});
  loop->withdraw();
  EXPECT_EQ(world.transport->open(), 1u) << "the reply to what is on the wire is waited for";
  world.fail(Error(ErrorCode::kConnection, "reset").with_retryable(true));
  world.advance(600s);
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_FALSE(outcome->error().not_accepted());
  EXPECT_EQ(world.transport->sent(), 1u);
}

// Spec T12.
TEST_F(RetryLoopTest, T12_WithdrawnDuringTheUploadItBreaksItOff) {
  world.transport->uploading = true;
  start({.max_attempts = 5});
  loop->withdraw();
  world.executor->run_all();
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().code(), ErrorCode::kCancelled);
  EXPECT_TRUE(outcome->error().not_accepted());
}

// Spec T12.
TEST_F(RetryLoopTest, T12_WithdrawnAfterTheUploadItWaitsForTheReply) {
  start({.max_attempts = 5});
  loop->withdraw();
  world.executor->run_all();
  EXPECT_FALSE(outcome);
  world.reply(200, "{}");
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->ok());
}

/// The other form of every request, and what was told about the form that was taken.
class OtherFormTest : public RetryLoopTest {
 protected:
  OtherFormTest() {
    other_form = OtherForm{.make = [](const HttpRequest&) -> Result<HttpRequest> {
                             auto body = std::make_shared<ByteBuffer>();
                             body->append("other");
                             HttpRequest request;
                             request.body = std::move(body);
                             return request;
                           },
                           .taken = [this](bool in_other_form) { taken = in_other_form; }};
  }

  std::optional<bool> taken;
};

TEST_F(OtherFormTest, IsSentOnceAfterARefusalOfTheForm) {
  for (const int status : {415, 422}) {
    outcome.reset();
    start({.max_attempts = 3});
    world.reply(status, "{}");
    EXPECT_EQ(world.transport->front_body(), "other") << status;
    world.reply(200, "{}");
    EXPECT_TRUE(outcome && outcome->ok());
    EXPECT_EQ(taken, true);
  }
}

TEST_F(OtherFormTest, IsNotSentForOtherRefusals) {
  for (const int status : {400, 404, 409, 413}) {
    outcome.reset();
    start({.max_attempts = 3});
    world.reply(status, "{}");
    ASSERT_TRUE(outcome && !outcome->ok()) << status;
    EXPECT_EQ(taken, std::nullopt);
  }
}

TEST_F(OtherFormTest, TheFirstFormThatIsTakenIsToldToo) {
  start({});
  world.reply(200, "{}");
  EXPECT_EQ(taken, false);
}

TEST_F(OtherFormTest, TheFirstRefusalIsTheErrorWhenBothFormsAreRefused) {
  start({});
  world.reply(422, R"({"detail":"first"})");
  world.reply(422, R"({"detail":"second"})");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_NE(outcome->error().message().find("first"), std::string::npos);
  EXPECT_TRUE(outcome->error().not_accepted());
  EXPECT_EQ(taken, std::nullopt);
}

TEST_F(OtherFormTest, TroubleOfTheSecondFormIsItsOwn) {
  start({.max_attempts = 1});
  world.reply(415, "{}");
  world.reply(503, R"({"detail":"busy"})");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().http_status(), 503);
  EXPECT_FALSE(outcome->error().not_accepted());
}

TEST_F(OtherFormTest, AFormThatCannotBeMadeLeavesTheRefusal) {
  other_form->make = [](const HttpRequest&) -> Result<HttpRequest> { throw std::bad_alloc(); };
  start({});
  world.reply(415, R"({"detail":"no protobuf"})");
  ASSERT_TRUE(outcome && !outcome->ok());
  EXPECT_EQ(outcome->error().http_status(), 415);
}

}  // namespace
}  // namespace tinkex::internal
