// Spec section 8, parallel chunk upload; H1, T6, C3: neither a deadlock nor a gap when one fails.

#include "tinkex/training/parallel_batch.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/manual_runtime.h"
#include "tinkex/training/strand.h"

namespace tinkex::internal {
namespace {

using namespace std::chrono_literals;
using testing::ManualRuntime;
using Bodies = std::vector<std::string>;

struct Outcome {
  Bodies ids;
  std::optional<Error> error;
};

/// A strand whose batches send their chunks side by side.
class ParallelBatchTest : public ::testing::Test {
 protected:
  void TearDown() override { world.close(); }

  std::shared_ptr<Strand::Submission> open(std::size_t chunks, std::optional<Outcome>& outcome) {
    SubmissionSpec spec;
    spec.what = "forward_backward";
    spec.total_chunks = chunks;
    spec.prepare = [](std::int64_t seq_id, std::shared_ptr<ByteBuffer> text,
                      RetryableRequest& request) {
      text->append("#" + std::to_string(seq_id));
      request.http.body = std::move(text);
    };
    spec.filler = [] { return body("filler"); };
    spec.done = [&outcome](std::vector<Accepted> accepted, std::optional<Error> error) {
      outcome.emplace();
      for (const Accepted& one : accepted) outcome->ids.push_back(one.request_id);
      outcome->error = std::move(error);
    };
    return strand->open(std::move(spec));
  }
  static std::shared_ptr<ByteBuffer> body(std::string_view text) {
    auto buffer = std::make_shared<ByteBuffer>();
    buffer->append(text);
    return buffer;
  }
  void add(const std::shared_ptr<Strand::Submission>& batch, const Bodies& texts) {
    for (const std::string& text : texts) strand->add(batch, body(text));
  }
  Bodies on_wire() const { return world.transport->bodies(); }
  void accept(const std::string& sent) {
    HttpResponse reply;
    reply.status = 200;
    reply.body = R"({"request_id":"id of )" + sent + "\"}";
    answer(sent, std::move(reply));
  }
  void refuse(const std::string& sent, int status = 422) {
    HttpResponse reply;
    reply.status = status;
    reply.body = R"({"detail":"no"})";
    answer(sent, std::move(reply));
  }
  void answer(const std::string& sent, Result<HttpResponse> reply) {
    world.transport->answer(sent, std::move(reply));
    world.executor->run_all();
  }

  ManualRuntime world;
  RetryOptions retry{.max_attempts = 1};
  std::shared_ptr<Strand> strand = std::make_shared<Strand>(world.runtime, retry, 100, nullptr);
  std::optional<Outcome> first;
  std::optional<Outcome> second;
};

// Spec H1.
TEST_F(ParallelBatchTest, H1_TheFirstChunkLeavesLastAndTheNextCallBehindIt) {
  auto batch = open(3, first);
  add(open(1, second), {"x"});
  add(batch, {"a", "b", "c"});
  EXPECT_EQ(on_wire(), (Bodies{"b#2", "c#3"}));
  accept("c#3");
  EXPECT_EQ(on_wire(), Bodies{"b#2"});
  accept("b#2");
  EXPECT_EQ(on_wire(), Bodies{"a#1"});
  EXPECT_FALSE(first);
  accept("a#1");
  ASSERT_TRUE(first);
  EXPECT_FALSE(first->error);
  EXPECT_EQ(first->ids, (Bodies{"id of a#1", "id of b#2", "id of c#3"}));
  EXPECT_EQ(on_wire(), Bodies{"x#4"});
}

TEST_F(ParallelBatchTest, ABatchOfOneChunkIsSentAsEver) {
  add(open(1, first), {"a"});
  EXPECT_EQ(on_wire(), Bodies{"a#1"});
}

// Spec C3.
TEST_F(ParallelBatchTest, C3_IdsBehindTheLastAcceptedChunkAreGivenBackAndTheOthersFilled) {
  add(open(4, first), {"a", "b", "c", "d"});
  accept("c#3");
  refuse("b#2");
  EXPECT_FALSE(first) << "the fourth chunk is on its way";
  refuse("d#4");
  EXPECT_EQ(on_wire(), Bodies{"filler#1"});
  accept("filler#1");
  EXPECT_EQ(on_wire(), Bodies{"filler#2"});
  accept("filler#2");
  ASSERT_TRUE(first && first->error);
  EXPECT_EQ(first->error->http_status(), 422);
  EXPECT_EQ(first->error->chunk(), 1u);
  EXPECT_EQ(first->ids, Bodies{"id of c#3"});
  add(open(1, second), {"x"});
  EXPECT_EQ(on_wire(), Bodies{"x#4"});
}

// Spec C3.
TEST_F(ParallelBatchTest, C3_WhereNothingWasAcceptedNothingIsFilled) {
  add(open(2, first), {"a", "b"});
  refuse("b#2");
  ASSERT_TRUE(first && first->error);
  EXPECT_TRUE(first->ids.empty());
  add(open(1, second), {"x"});
  EXPECT_EQ(on_wire(), Bodies{"x#1"});
}

// Spec C3.
TEST_F(ParallelBatchTest, C3_AChunkThatTheServerMayHaveIsFilledToo) {
  add(open(3, first), {"a", "b", "c"});
  refuse("b#2");
  answer("c#3", Error(ErrorCode::kConnection, "reset").with_retryable(true));
  for (const char* filler : {"filler#1", "filler#2"}) {
    ASSERT_EQ(on_wire(), Bodies{filler});
    accept(filler);
  }
  ASSERT_EQ(on_wire(), Bodies{"filler#3"});
  refuse("filler#3", 409);
  ASSERT_TRUE(first && first->error);
  add(open(1, second), {"x"});
  EXPECT_EQ(on_wire(), Bodies{"x#4"}) << "409: the server has it";
}

// Spec C3.
TEST_F(ParallelBatchTest, C3_AnIdThatCouldNotBeClosedIsClosedBeforeAnythingElse) {
  add(open(2, first), {"a", "b"});
  accept("b#2");
  refuse("a#1");
  ASSERT_EQ(on_wire(), Bodies{"filler#1"});
  refuse("filler#1", 503);
  ASSERT_TRUE(first && first->error);
  add(open(1, second), {"x"});
  ASSERT_EQ(on_wire(), Bodies{"filler#1"});
  refuse("filler#1", 503);
  ASSERT_TRUE(second && second->error);
  EXPECT_NE(second->error->message().find("sequence id 1"), std::string::npos);
  EXPECT_TRUE(second->error->not_accepted());
  second.reset();
  add(open(1, second), {"y"});
  ASSERT_EQ(on_wire(), Bodies{"filler#1"});
  accept("filler#1");
  EXPECT_EQ(on_wire(), Bodies{"y#3"});
}

// Spec T12.
TEST_F(ParallelBatchTest, T12_AnAbortedBatchLeavesNoGapAndFreesTheWire) {
  auto batch = open(4, first);
  add(batch, {"a", "b", "c"});
  strand->abort(batch, Error(ErrorCode::kCancelled, "by the test"));
  EXPECT_FALSE(strand->add(batch, body("d")));
  accept("b#2");
  accept("c#3");
  ASSERT_EQ(on_wire(), Bodies{"filler#1"});
  accept("filler#1");
  ASSERT_TRUE(first && first->error);
  EXPECT_EQ(first->error->code(), ErrorCode::kCancelled);
  EXPECT_EQ(first->ids.size(), 2u) << "their results are still fetched";
  add(open(1, second), {"x"});
  EXPECT_EQ(on_wire(), Bodies{"x#4"});
}

// Spec T12.
TEST_F(ParallelBatchTest, T12_UploadsOfAnAbortedBatchAreBrokenOff) {
  world.transport->uploading = true;
  auto batch = open(3, first);
  add(batch, {"a", "b", "c"});
  strand->abort(batch, Error(ErrorCode::kCancelled, "by the test"));
  world.executor->run_all();
  ASSERT_TRUE(first && first->error);
  add(open(1, second), {"x"});
  EXPECT_EQ(on_wire(), Bodies{"x#1"});
}

// Spec T15.
TEST_F(ParallelBatchTest, T15_TheBudgetOfBytesDoesNotBlockABatchThatHoldsItsFirstChunkBack) {
  auto batch = open(3, first);
  // The budget is 100 bytes; the caller would wait for ever if the chunk that is held back counted
  // as progress to come.
  add(batch, {std::string(80, 'a')});
  add(batch, {std::string(80, 'b')});
  EXPECT_EQ(on_wire().size(), 1u);
  accept(std::string(80, 'b') + "#2");
  add(batch, {std::string(80, 'c')});
  accept(std::string(80, 'c') + "#3");
  accept(std::string(80, 'a') + "#1");
  ASSERT_TRUE(first);
  EXPECT_FALSE(first->error);
}

// Spec T15.
TEST_F(ParallelBatchTest, T15_ACallerThatWaitsForTheBudgetIsWokenByTheBatchItBelongsTo) {
  auto batch = open(3, first);
  add(batch, {std::string(60, 'a')});
  add(batch, {std::string(30, 'b')});
  std::thread caller([&] { strand->add(batch, body(std::string(60, 'c'))); });
  // However the two threads meet, the answer to b must let c in: nothing else of the batch can.
  accept(std::string(30, 'b') + "#2");
  caller.join();
  accept(std::string(60, 'c') + "#3");
  accept(std::string(60, 'a') + "#1");
  ASSERT_TRUE(first);
  EXPECT_FALSE(first->error);
}

// Spec C3.
TEST_F(ParallelBatchTest, C3_TheAcceptedChunksAreKnownWhileTheFirstIsHeldBack) {
  auto batch = open(3, first);
  add(batch, {"a", "b"});
  accept("b#2");
  EXPECT_EQ(strand->accepted_ids(batch), Bodies{"id of b#2"});
  add(batch, {"c"});  // a batch without its last chunk waits for it, and keeps itself alive
  accept("c#3");
  accept("a#1");
  EXPECT_TRUE(first);
}

TEST_F(ParallelBatchTest, ClosingTheServiceEndsABatchInTheMiddle) {
  auto batch = open(3, first);
  add(batch, {"a", "b"});
  world.close();
  strand->abort(batch, Error(ErrorCode::kClosed, "closed"));
  world.executor->run_all();
  ASSERT_TRUE(first && first->error);
  EXPECT_EQ(first->error->code(), ErrorCode::kClosed);
}

}  // namespace
}  // namespace tinkex::internal
