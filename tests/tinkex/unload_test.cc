#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/scripted_service.h"
#include "tinkex/training_client.h"

namespace tinkex {
namespace {

using mocks::Reply;
using mocks::TinkerScript;
using Json = nlohmann::json;

const char kUnknownModel[] = R"({"detail":"model 'model-1' is unknown to this server"})";

class UnloadTest : public testing::ScriptedServiceTest {
 protected:
  UnloadTest() {
    connect_service(tinker.options());
    client.emplace(service->create_lora_training_client("base").get().value());
    polls_before_ = count("retrieve_future");
  }
  std::size_t polls() const { return count("retrieve_future") - polls_before_; }

  std::optional<TrainingClient> client;

 private:
  std::size_t polls_before_ = 0;
};

TEST_F(UnloadTest, TheModelIsNamedAndTheResultAskedFor) {
  script("unload_model", {Reply::json(R"({"request_id":"u-1","model_id":"model-1"})")});
  script("retrieve_future", {TinkerScript::try_again(),
                             Reply::json(R"({"model_id":"model-1","type":"unload_model"})")});
  const auto unloaded = client->unload().get();
  ASSERT_TRUE(unloaded.ok()) << unloaded.error().what();
  const auto sent = requests("unload_model");
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(Json::parse(sent[0].body), Json({{"model_id", "model-1"}, {"type", "unload_model"}}));
  EXPECT_EQ(polls(), 2u);
  const auto poll = requests("retrieve_future").back();
  EXPECT_EQ(Json::parse(poll.body).at("request_id"), "u-1");
  EXPECT_EQ(poll.header("x-tinker-request-type"), "UnloadModel");
}

TEST_F(UnloadTest, AServerMayBeDoneAtOnceWithOrWithoutAWord) {
  script("unload_model",
         {Reply::json(R"({"model_id":"model-1","status":"unloaded"})"), Reply::json("", 204)});
  EXPECT_TRUE(client->unload().get().ok());
  EXPECT_TRUE(client->unload().get().ok());
  EXPECT_EQ(polls(), 0u);
}

TEST_F(UnloadTest, AnOperationThatFailsIsAnError) {
  script("unload_model", {Reply::json(R"({"request_id":"u-1"})")});
  script("retrieve_future", {TinkerScript::failed("the disk is full", "server")});
  const auto failed = client->unload().get();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code(), ErrorCode::kRequestFailed);
}

TEST_F(UnloadTest, AModelThatALostReplyUnloadedIsUnloaded) {
  for (const Reply& lost : {Reply::hang_up(), Reply::json("{}", 503)}) {
    const std::size_t before = count("unload_model");
    script("unload_model", {lost, Reply::json(kUnknownModel, 404)});
    const auto unloaded = client->unload().get();
    EXPECT_TRUE(unloaded.ok()) << unloaded.error().what();
    EXPECT_EQ(count("unload_model"), before + 2);
  }
  EXPECT_EQ(polls(), 0u);
}

TEST_F(UnloadTest, AModelThatNoAttemptCanHaveUnloadedIsAnError) {
  const Reply unknown = Reply::json(kUnknownModel, 404);
  for (const std::vector<Reply>& replies :
       {std::vector{unknown}, std::vector{Reply::json("{}", 429), unknown}}) {
    script("unload_model", replies);
    const auto refused = client->unload().get();
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().http_status(), 404);
    EXPECT_TRUE(refused.error().not_accepted());
  }
}

}  // namespace
}  // namespace tinkex
