#include "tinkex/training/strand.h"

#include <gtest/gtest.h>

#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/manual_runtime.h"

namespace tinkex::internal {
namespace {

using namespace std::chrono_literals;
using testing::ManualRuntime;

struct Outcome {
  std::vector<std::string> ids;
  std::optional<Error> error;
};

class StrandTest : public ::testing::Test {
 protected:
  void TearDown() override { world.close(); }
  static SubmissionSpec spec_of(std::size_t chunks, std::optional<Outcome>& outcome) {
    SubmissionSpec spec;
    spec.what = "forward_backward";
    spec.total_chunks = chunks;
    spec.prepare = [](std::int64_t seq_id, std::shared_ptr<ByteBuffer> body,
                      RetryableRequest& request) {
      body->append("#" + std::to_string(seq_id));
      request.http.body = std::move(body);
    };
    spec.done = [&outcome](std::vector<Accepted> accepted, std::optional<Error> error) {
      outcome.emplace();
      for (const Accepted& one : accepted) outcome->ids.push_back(one.request_id);
      outcome->error = std::move(error);
    };
    return spec;
  }
  std::shared_ptr<Strand::Submission> open(std::size_t chunks, std::optional<Outcome>& outcome) {
    return strand->open(spec_of(chunks, outcome));
  }
  static std::shared_ptr<ByteBuffer> body(std::string_view text) {
    auto buffer = std::make_shared<ByteBuffer>();
    buffer->append(text);
    return buffer;
  }
  void accept(const std::string& id) { world.reply(200, R"({"request_id":")" + id + "\"}"); }
  std::string on_wire() const {
    return world.transport->open() == 0 ? "" : world.transport->front_body();
  }

  ManualRuntime world;
  RetryOptions retry{.max_attempts = 3};
  std::shared_ptr<RateLimiter> limiter = std::make_shared<RateLimiter>();
  std::shared_ptr<Strand> strand = std::make_shared<Strand>(world.runtime, retry, 100, limiter);
  std::optional<Outcome> first;
  std::optional<Outcome> second;
};

// Spec T6.
TEST_F(StrandTest, T6_ChunksLeaveOneAtATimeInOrderAndGiveTheirIds) {
  auto batch = open(3, first);
  for (const char* text : {"a", "b", "c"}) strand->add(batch, body(text));
  for (const char* expected : {"a#1", "b#2", "c#3"}) {
    EXPECT_EQ(world.transport->open(), 1u);
    EXPECT_EQ(on_wire(), expected);
    accept(std::string("id-") + expected[0]);
  }
  ASSERT_TRUE(first);
  EXPECT_EQ(first->ids, (std::vector<std::string>{"id-a", "id-b", "id-c"}));
  EXPECT_FALSE(first->error);
}

// Spec H6.
TEST_F(StrandTest, H6_ABatchIsNeverInterleavedWithAnotherOne) {
  auto one = open(2, first);
  auto two = open(1, second);
  strand->add(two, body("x"));
  EXPECT_EQ(on_wire(), "") << "the second one's place is behind the first";
  strand->add(one, body("a"));
  strand->add(one, body("b"));
  for (const char* expected : {"a#1", "b#2", "x#3"}) {
    EXPECT_EQ(on_wire(), expected);
    accept("id");
  }
}

// Spec T7.
TEST_F(StrandTest, T7_TheNextSubmissionStartsOnceTheLastChunkIsAccepted) {
  strand->add(open(1, first), body("a"));
  strand->add(open(1, second), body("b"));
  accept("r1");
  ASSERT_TRUE(first) << "the first batch is handed on to polling";
  EXPECT_EQ(on_wire(), "b#2") << "while the second one is on the wire";
}

// Spec C3.
TEST_F(StrandTest, C3_AFailedChunkStopsTheBatchAndSaysWhatWasAccepted) {
  auto batch = open(4, first);
  for (const char* text : {"a", "b", "c", "d"}) strand->add(batch, body(text));
  strand->add(open(1, second), body("x"));
  accept("r1");
  world.reply(422, R"({"detail":"bad datum"})");
  ASSERT_TRUE(first && first->error);
  EXPECT_EQ(first->ids, (std::vector<std::string>{"r1"}));
  EXPECT_EQ(first->error->http_status(), 422);
  EXPECT_EQ(world.transport->sent(), 3u) << "chunks three and four never left";
  EXPECT_EQ(on_wire(), "x#2") << "the client goes on, and a refused request gives its id back";
}

TEST_F(StrandTest, Trap7_ARepeatSendsTheSameIdAndTheSameBytes) {
  strand->add(open(1, first), body("a"));
  world.reply(503, "busy");
  EXPECT_EQ(world.transport->open(), 0u);
  world.advance(1s);
  EXPECT_EQ(on_wire(), "a#1");
  world.fail(Error(ErrorCode::kConnection, "reset").with_retryable(true));
  world.advance(2s);
  EXPECT_EQ(on_wire(), "a#1");
  accept("r1");
  ASSERT_TRUE(first && !first->error);
}

TEST_F(StrandTest, Trap7_AnIdOfUnknownOutcomeIsNotUsedAgain) {
  strand->add(open(1, first), body("a"));
  for (int attempt = 0; attempt < 3; ++attempt) {
    world.fail(Error(ErrorCode::kConnection, "reset").with_retryable(true));
    world.advance(20s);
  }
  ASSERT_TRUE(first && first->error);
  EXPECT_FALSE(first->error->not_accepted());
  strand->add(open(1, second), body("b"));
  EXPECT_EQ(on_wire(), "b#2");
}

TEST_F(StrandTest, Trap7_AnIdThatNeverLeftIsGivenBack) {
  strand->add(open(1, first), body("a"));
  for (int attempt = 0; attempt < 3; ++attempt) {
    world.fail(
        Error(ErrorCode::kConnection, "refused").with_retryable(true).with_not_accepted(true));
    world.advance(20s);
  }
  ASSERT_TRUE(first && first->error);
  EXPECT_TRUE(first->error->not_accepted());
  strand->add(open(1, second), body("b"));
  EXPECT_EQ(on_wire(), "b#1");
}

// Spec T14.
TEST_F(StrandTest, T14_AResultInsteadOfAFutureIsKept) {
  std::optional<HttpResponse> immediate;
  SubmissionSpec spec;
  spec.prepare = [](std::int64_t, std::shared_ptr<ByteBuffer> body, RetryableRequest& request) {
    request.http.body = std::move(body);
  };
  spec.done = [&immediate](std::vector<Accepted> accepted, const std::optional<Error>&) {
    immediate = accepted.front().immediate;
  };
  strand->add(strand->open(std::move(spec)), body("a"));
  world.reply(200, R"({"path":"tinker://m/sampler_weights/x"})");
  ASSERT_TRUE(immediate);
  EXPECT_NE(immediate->body.find("sampler_weights"), std::string::npos);
}

TEST_F(StrandTest, TheByteBudgetMakesACallerWaitUntilAChunkIsAccepted) {
  auto batch = open(2, first);
  strand->add(batch, body(std::string(80, 'a')));  // on the wire, still counted
  std::atomic<bool> asked{false};
  std::atomic<bool> added{false};
  std::thread caller([&] {
    strand->add(batch, body(std::string(80, 'b')));  // the head has nothing to send: admitted
    auto next = open(1, second);
    asked = true;
    strand->add(next, body(std::string(80, 'c')));  // over the budget and not the head: waits
    added = true;
  });
  while (!asked) std::this_thread::yield();
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(added.load());
  accept("r1");
  accept("r2");
  caller.join();
  EXPECT_TRUE(added.load());
}

// In these three a caller that waits, waits for ever: nobody is there to answer.
TEST_F(StrandTest, TheHeadPassesTheByteBudgetWhenItHasNothingToSend) {
  auto batch = open(2, first);
  EXPECT_TRUE(strand->add(batch, body(std::string(80, 'a'))));
  EXPECT_TRUE(strand->add(batch, body(std::string(80, 'b'))));
}

TEST_F(StrandTest, WhatWasAcceptedGivesItsBytesBack) {
  strand->add(open(1, first), body(std::string(80, 'a')));
  accept("r1");
  auto batch = open(3, second);
  strand->add(batch, body(std::string(80, 'b')));
  strand->add(batch, body(std::string(5, 'c')));
  EXPECT_TRUE(strand->add(batch, body(std::string(5, 'd'))));
}

TEST_F(StrandTest, AnAbortedBatchGivesItsBytesBack) {
  auto batch = open(2, first);
  auto next = open(1, second);
  strand->add(batch, body(std::string(10, 'a')));
  strand->add(batch, body(std::string(80, 'b')));
  strand->abort(batch, Error(ErrorCode::kCancelled, "cancelled"));
  EXPECT_TRUE(strand->add(next, body(std::string(80, 'c'))));
}

TEST_F(StrandTest, ClosingWakesACallerThatWaitsForTheBudget) {
  auto batch = open(1, first);
  strand->add(batch, body(std::string(90, 'a')));
  std::thread caller([&] { strand->add(open(1, second), body(std::string(90, 'b'))); });
  std::this_thread::sleep_for(5ms);
  world.runtime->closed.store(true);
  world.transport->shutdown();
  strand->wake();
  caller.join();
  world.executor->run_all();
  ASSERT_TRUE(first && first->error);
  EXPECT_EQ(first->error->code(), ErrorCode::kClosed);
  ASSERT_TRUE(second && second->error);
  EXPECT_EQ(second->error->code(), ErrorCode::kClosed);
}

TEST_F(StrandTest, WhoCallsAfterTheCloseDoesNotWaitForTheBudget) {
  strand->add(open(1, first), body(std::string(90, 'a')));
  world.runtime->closed.store(true);
  world.transport->shutdown();
  strand->wake();
  strand->add(open(1, second), body(std::string(90, 'b')));  // the first one's bytes still count
  world.executor->run_all();
  ASSERT_TRUE(second && second->error);
  EXPECT_EQ(second->error->code(), ErrorCode::kClosed);
}

TEST_F(StrandTest, AnAbortedBatchLetsTheNextOneGo) {
  auto batch = open(2, first);
  strand->add(batch, body("a"));
  strand->add(open(1, second), body("x"));
  accept("r1");
  EXPECT_EQ(on_wire(), "");
  strand->abort(batch, invalid_argument("datum 7 cannot be encoded"));
  world.executor->run_all();
  ASSERT_TRUE(first && first->error);
  EXPECT_EQ(first->ids.size(), 1u);
  EXPECT_EQ(on_wire(), "x#2");
}

// Spec T12.
TEST_F(StrandTest, T12_ACancelledSubmissionThatWaitsNeverLeaves) {
  auto one = open(1, first);
  auto two = open(1, second);
  strand->add(one, body("a"));
  strand->add(two, body("b"));
  strand->abort(two, Error(ErrorCode::kCancelled, "cancelled"));
  accept("id-a");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(second->error->code(), ErrorCode::kCancelled);
  EXPECT_EQ(world.transport->sent(), 1u);
}

// Spec T12.
TEST_F(StrandTest, T12_CancellingOnTheWireKeepsTheSequenceAndDropsTheRest) {
  auto one = open(3, first);
  auto two = open(1, second);
  strand->add(one, body("a"));
  strand->add(one, body("b"));
  strand->add(two, body("x"));
  strand->abort(one, Error(ErrorCode::kCancelled, "cancelled"));
  EXPECT_FALSE(first) << "only the reply tells what became of #1";
  EXPECT_FALSE(strand->add(one, body("c")));
  accept("id-a");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->ids, std::vector<std::string>{"id-a"});
  EXPECT_EQ(on_wire(), "x#2");
  strand->abort(one, Error(ErrorCode::kCancelled, "too late"));
  accept("id-x");
  EXPECT_FALSE(second->error);
}

// Spec C3.
TEST_F(StrandTest, C3_ABodyThatCannotBeCompletedFreesTheWire) {
  SubmissionSpec spec;
  spec.prepare = [](auto&&...) { throw std::bad_alloc(); };
  spec.done = [this](std::vector<Accepted>, std::optional<Error> error) {
    first.emplace();
    first->error = std::move(error);
  };
  strand->add(strand->open(std::move(spec)), body("a"));
  world.executor->run_all();
  ASSERT_TRUE(first && first->error);
  EXPECT_EQ(first->error->code(), ErrorCode::kInternal);
  strand->add(open(1, second), body("b"));
  EXPECT_EQ(on_wire(), "b#1") << "the id was not used";
}

TEST_F(StrandTest, Trap11_A429OnASubmissionFeedsTheSharedLimiter) {
  strand->add(open(1, first), body("a"));
  world.reply(429, "{}", {{"retry-after", "7"}});
  EXPECT_EQ(limiter->until() - world.clock->now(), 7s);
}

// Spec T12.
TEST_F(StrandTest, T12_AnAbortedUploadIsBrokenOffAndItsSequenceIdGivenBack) {
  world.transport->uploading = true;
  auto batch = open(2, first);
  strand->add(batch, body("a"));
  strand->add(batch, body("b"));
  strand->add(open(1, second), body("x"));
  EXPECT_EQ(on_wire(), "a#1");
  strand->abort(batch, Error(ErrorCode::kCancelled, "by the test"));
  world.executor->run_all();
  ASSERT_TRUE(first && first->error);
  EXPECT_EQ(first->error->code(), ErrorCode::kCancelled);
  EXPECT_EQ(on_wire(), "x#1");
}

// Spec T12.
TEST_F(StrandTest, T12_AnAbortedSendThatIsBetweenRefusalsIsGivenUp) {
  retry.max_attempts = 5;
  strand = std::make_shared<Strand>(world.runtime, retry, 100, limiter);
  auto batch = open(1, first);
  strand->add(batch, body("a"));
  world.reply(503, "{}", {{"x-should-retry", "true"}});
  world.advance(20s);
  world.reply(429, "{}");
  strand->abort(batch, Error(ErrorCode::kCancelled, "by the test"));
  world.executor->run_all();
  EXPECT_FALSE(first) << "the 503 may hide a success, so the send goes on";
  world.advance(20s);
  accept("r1");
  ASSERT_TRUE(first);
  EXPECT_EQ(first->ids, std::vector<std::string>{"r1"});
}

TEST_F(StrandTest, H6_PlacesTakenTogetherAreNextToEachOther) {
  std::optional<Outcome> third;
  const auto [one, two] = strand->open_together(spec_of(1, first), spec_of(1, second));
  strand->add(open(1, third), body("x"));
  strand->add(one, body("a"));
  accept("r1");
  ASSERT_TRUE(first);
  EXPECT_EQ(on_wire(), "") << "the second place is kept until it is filled";
  strand->add(two, body("b"));
  EXPECT_EQ(on_wire(), "b#2");
  accept("r2");
  EXPECT_EQ(on_wire(), "x#3");
  accept("r3");
  EXPECT_TRUE(third);
}

TEST_F(StrandTest, T12_ClosingEndsAPlaceThatNobodyFillsAndWhatWaitsBehindIt) {
  const auto waiting = open(1, first);
  strand->add(open(1, second), body("x"));
  world.runtime->closed = true;
  world.transport->shutdown();
  strand->wake();
  world.executor->run_all();
  ASSERT_TRUE(first && first->error);
  EXPECT_EQ(first->error->code(), ErrorCode::kClosed);
  EXPECT_FALSE(strand->add(waiting, body("a")));
  ASSERT_TRUE(second && second->error);
  EXPECT_EQ(second->error->code(), ErrorCode::kClosed);
}

// Spec C3.
TEST_F(StrandTest, C3_TheAcceptedChunksAreKnownWhileTheRestIsOnItsWay) {
  auto batch = open(2, first);
  strand->add(batch, body("a"));
  accept("r1");
  EXPECT_EQ(strand->accepted_ids(batch), std::vector<std::string>{"r1"});
  strand->add(batch, body("b"));
  accept("r2");
  EXPECT_EQ(strand->accepted_ids(batch), (std::vector<std::string>{"r1", "r2"}));
}

}  // namespace
}  // namespace tinkex::internal
