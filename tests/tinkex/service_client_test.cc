#include "tinkex/service_client.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "tinkex/mocks/tinker_script.h"

namespace tinkex {
namespace {

using mocks::TinkerScript;

TEST(ServiceClientTest, AServerThatIsNotThereGivesOneReadableSentence) {
  ClientOptions options;
  options.base_url = "http://127.0.0.1:9";
  options.retry.max_attempts = 1;
  auto connected = ServiceClient::connect(std::move(options));
  ASSERT_FALSE(connected.ok());
  EXPECT_EQ(connected.error().code(), ErrorCode::kConnection);
  EXPECT_NE(connected.error().message().find("127.0.0.1:9"), std::string::npos);
}

TEST(ServiceClientTest, AKeyOfTheWrongFormIsRefusedWithoutShowingIt) {
  ClientOptions options;
  options.base_url = "https://example.com";
  options.api_key = "sk-secret-value";
  auto connected = ServiceClient::connect(std::move(options));
  ASSERT_FALSE(connected.ok());
  EXPECT_EQ(connected.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(std::string(connected.error().what()).find("secret"), std::string::npos);
}

// Spec H9.
TEST(ServiceClientTest, H9_TwoTenantsInOneProcessKeepTheirKeysApart) {
  TinkerScript a;
  TinkerScript b;
  ClientOptions for_a = a.options();
  ClientOptions for_b = b.options();
  for_a.api_key = "tml-a";
  for_b.api_key = "tml-b";
  auto client_a = ServiceClient::connect(std::move(for_a));
  auto client_b = ServiceClient::connect(std::move(for_b));
  ASSERT_TRUE(client_a.ok() && client_b.ok());
  EXPECT_GT(a.server().count(), 0u);
  EXPECT_GT(b.server().count(), 0u);
  for (const auto& request : a.server().log()) EXPECT_EQ(request.header("x-api-key"), "tml-a");
  for (const auto& request : b.server().log()) EXPECT_EQ(request.header("x-api-key"), "tml-b");
}

}  // namespace
}  // namespace tinkex
