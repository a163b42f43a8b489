#include <gtest/gtest.h>

#include <string>

#include "tinkex/api/messages.h"

namespace tinkex::api {
namespace {

TEST(ApiRepliesTest, AMillionMetricsAreReadInTime) {
  std::string body = R"({"metrics":{)";
  for (int i = 0; i < 1'000'000; ++i) body += "\"m" + std::to_string(i) + "\":1,";
  body.back() = '}';
  body += '}';
  const auto response = parse_optim_step(body);
  ASSERT_TRUE(response.ok()) << response.error().what();
  EXPECT_EQ(response->metrics.size(), 1'000'000u);
}

TEST(ApiRepliesTest, NumbersBeyondTheirTypeCountAsAbsent) {
  const auto info = parse_model_info(R"({"model_id":"m","lora_rank":18446744073709551615})");
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->lora_rank, std::nullopt);
  const auto weights = parse_weights_info(R"({"base_model":"b","lora_rank":9223372036854775808})");
  ASSERT_TRUE(weights.ok());
  EXPECT_EQ(weights->lora.rank, LoraConfig().rank);
  const ServerConfig config =
      parse_client_config(R"({"fwdbwd_max_chunk_len":18446744073709551615})");
  EXPECT_EQ(config.max_chunk_examples, std::nullopt);
}

TEST(ApiRepliesTest, TheLastOfEqualKeysCounts) {
  EXPECT_EQ(parse_request_id(R"({"request_id":"a","request_id":"b"})").value(), "b");
}

// Spec X3.
TEST(ApiRepliesTest, X3_AnIdThatIsNoUseIsADecodeError) {
  const std::string longest(1'024, 'i');
  EXPECT_EQ(parse_request_id(R"({"request_id":")" + longest + "\"}").value(), longest);
  for (const std::string& id :
       {longest + "i", std::string("a\\n"), std::string("\\u0000"), std::string("\\u007f")}) {
    const std::string body = R"({"request_id":")" + id + "\"}";
    const auto training = parse_request_id(body);
    ASSERT_FALSE(training.ok()) << id;
    EXPECT_EQ(training.error().code(), ErrorCode::kDecode);
    const auto sample = parse_sample_accepted(body);
    ASSERT_FALSE(sample.ok()) << id;
    EXPECT_EQ(sample.error().code(), ErrorCode::kDecode);
  }
  EXPECT_EQ(parse_request_id("{\"request_id\":\"a b \xc3\xa9\"}").value(), "a b \xc3\xa9");
  EXPECT_EQ(parse_request_id(R"({"request_id":""})").value(), "") << "the result itself";
  EXPECT_FALSE(parse_sample_accepted(R"({"request_id":""})").ok());
}

// Spec X3. The time of nlohmann's parser with a callback grows with the square of a list's length.
TEST(ApiRepliesTest, X3_AListOfManyObjectsIsReadInTime) {
  std::string body = R"({"supported_models":[)";
  for (int i = 0; i < 300'000; ++i) body += R"({"model_name":"m"},)";
  body.back() = ']';
  body += '}';
  const auto models = parse_supported_models(body);
  ASSERT_TRUE(models.ok()) << models.error().what();
  EXPECT_EQ(models->size(), 300'000u);
}

// Spec X3.
TEST(ApiRepliesTest, X3_DeepNestingIsADecodeError) {
  for (const char* open : {"[", "{\"a\":"}) {
    std::string body = R"({"session_id":"s","x":)";
    for (int i = 0; i < 100'000; ++i) body += open;
    const auto id = parse_session_id(body);
    ASSERT_FALSE(id.ok());
    EXPECT_EQ(id.error().code(), ErrorCode::kDecode);
  }
  const std::string brackets(1'000, '[');
  const auto quoted = parse_session_id(R"({"session_id":"s","x":"\\\"{)" + brackets + "\"}");
  EXPECT_TRUE(quoted.ok()) << "brackets in a text nest nothing";
}

}  // namespace
}  // namespace tinkex::api
