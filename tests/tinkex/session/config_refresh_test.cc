#include "tinkex/session/config_refresh.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/support/manual_runtime.h"

namespace tinkex::internal {
namespace {

using std::chrono_literals::operator""s;

class ConfigRefreshTest : public ::testing::Test {
 protected:
  void SetUp() override {
    refresh->start();
    world.advance(0s);
  }
  void TearDown() override {
    refresh->cancel();
    world.close();
  }

  std::vector<bool> may_cancel;
  testing::ManualRuntime world;
  std::shared_ptr<ConfigRefresh> refresh = std::make_shared<ConfigRefresh>(
      world.runtime, HttpRequest{}, [this](const api::DynamicConfig& config) {
        may_cancel.push_back(config.sample_cancel_enabled);
      });
};

TEST_F(ConfigRefreshTest, TheServerSaysWhenItIsAskedAgain) {
  EXPECT_EQ(world.transport->sent(), 1u);
  world.reply(200, R"({"refresh_interval_sec":20,"sample_cancel_enabled":true})");
  world.advance(19s);
  EXPECT_EQ(world.transport->sent(), 1u);
  world.advance(1s);
  EXPECT_EQ(world.transport->sent(), 2u);
  EXPECT_EQ(may_cancel, std::vector<bool>{true});
}

TEST_F(ConfigRefreshTest, WhateverAProxyAnswersItIsAskedAgainAndNothingChanges) {
  std::size_t asked = 1;
  for (const int status : {200, 404, 429, 502, 0}) {
    ASSERT_EQ(world.transport->sent(), asked) << "before " << status;
    if (status == 0) {
      world.fail(Error(ErrorCode::kConnection, "reset"));
    } else {
      world.reply(status, "404 page not found");
    }
    world.advance(300s);
    ++asked;
  }
  EXPECT_EQ(world.transport->sent(), asked);
  EXPECT_TRUE(may_cancel.empty());
  world.reply(200, R"({"sample_cancel_enabled":true})");
  EXPECT_EQ(may_cancel, std::vector<bool>{true});
}

TEST_F(ConfigRefreshTest, NothingIsAskedOnceItIsCancelled) {
  world.reply(200, R"({"refresh_interval_sec":20})");
  refresh->cancel();
  world.advance(60s);
  EXPECT_EQ(world.transport->sent(), 1u);
}

}  // namespace
}  // namespace tinkex::internal
