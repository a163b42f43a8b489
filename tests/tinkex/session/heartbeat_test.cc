#include "tinkex/session/heartbeat.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/support/manual_runtime.h"

namespace tinkex::internal {
namespace {

using std::chrono_literals::operator""s;

class HeartbeatTest : public ::testing::Test {
 protected:
  void SetUp() override { heartbeat->start(); }
  void TearDown() override {
    heartbeat->cancel();
    world.close();
  }

  testing::ManualRuntime world;
  std::shared_ptr<Heartbeat> heartbeat =
      std::make_shared<Heartbeat>(world.runtime, HttpRequest{}, 10s);
};

TEST_F(HeartbeatTest, WhateverAProxyAnswersTheNextBeatFollows) {
  std::size_t beats = 0;
  for (const int status : {200, 404, 429, 502, 0}) {
    world.advance(10s);
    ASSERT_EQ(world.transport->sent(), ++beats) << "before " << status;
    if (status == 0) {
      world.fail(Error(ErrorCode::kConnection, "reset"));
    } else {
      world.reply(status, "404 page not found");
    }
  }
  world.advance(10s);
  EXPECT_EQ(world.transport->sent(), ++beats);
}

TEST_F(HeartbeatTest, AFinishedSessionNeedsNoFurtherBeat) {
  world.advance(10s);
  world.reply(410, "{}");
  world.advance(60s);
  EXPECT_EQ(world.transport->sent(), 1u);
}

TEST_F(HeartbeatTest, ATransportThatHasClosedIsNotAskedAgain) {
  world.advance(10s);
  world.fail(Error(ErrorCode::kClosed, "closed"));
  world.advance(60s);
  EXPECT_EQ(world.transport->sent(), 1u);
}

}  // namespace
}  // namespace tinkex::internal
