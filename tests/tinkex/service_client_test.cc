#include "tinkex/service_client.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/mocks/scripted_server.h"
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

/// Which of the variables are set is seen by the requests that reach `proxy`, or by none.
class ProxyTest : public ::testing::Test {
 protected:
  using Variables = std::vector<std::pair<const char*, std::string>>;

  ProxyTest() {
    proxy_.handle("", "", [](const auto&) { return mocks::Reply::json("{}", 403); });
    for (const char* name : {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                             "no_proxy", "NO_PROXY"})
      ::unsetenv(name);
  }

  std::size_t requests(const std::string& base_url, const Variables& variables) {
    for (const auto& [name, value] : variables) ::setenv(name, value.c_str(), 1);
    ClientOptions options;
    options.base_url = base_url;
    options.api_key = "tml-key";
    options.retry.max_attempts = 1;
    const std::size_t before = proxy_.log().size();
    EXPECT_FALSE(ServiceClient::connect(std::move(options)).ok());
    for (const auto& [name, value] : variables) ::unsetenv(name);
    return proxy_.log().size() - before;
  }

  mocks::ScriptedServer proxy_;
  const std::string here_ = proxy_.base_url(), nowhere_ = "http://127.0.0.1:1";
};

TEST_F(ProxyTest, ProxiesAreTakenFromTheVariablesThatLibcurlTakes) {
  for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) {
    EXPECT_EQ(requests("http://192.0.2.1:1", {{name, here_}}), 1u) << name;
  }
  for (const char* name : {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}) {
    EXPECT_EQ(requests("https://192.0.2.1:1", {{name, here_}}), 1u) << name;
  }
  EXPECT_EQ(requests("http://192.0.2.1:1", {{"http_proxy", here_}, {"all_proxy", nowhere_}}), 1u);
  EXPECT_EQ(requests("https://192.0.2.1:1", {{"https_proxy", here_}, {"HTTPS_PROXY", nowhere_}}),
            1u);
  EXPECT_EQ(requests("http://192.0.2.1:1", {{"HTTP_PROXY", here_}, {"all_proxy", nowhere_}}), 0u);
}

TEST_F(ProxyTest, HostsThatAreNamedAreReachedWithoutAProxy) {
  const std::string any = "http://0.0.0.0" + here_.substr(here_.rfind(':'));
  for (const char* name : {"no_proxy", "NO_PROXY"}) {
    EXPECT_EQ(requests(any, {{"http_proxy", nowhere_}, {name, "0.0.0.0"}}), 1u) << name;
  }
  EXPECT_EQ(requests(any, {{"http_proxy", nowhere_}}), 0u);
}

TEST(ServiceClientTest, APageThatRepeatsTheKeyInsteadOfASessionIsAnErrorWithoutIt) {
  TinkerScript tinker;
  tinker.server().script("POST", TinkerScript::path("create_session"),
                         {mocks::Reply::json("<pre>X-API-Key: own-secret</pre>")});
  ClientOptions options = tinker.options();
  options.api_key = "own-secret";
  const auto connected = ServiceClient::connect(std::move(options));
  ASSERT_FALSE(connected.ok());
  EXPECT_EQ(connected.error().message(),
            "no Tinker server seems to be at " + tinker.base_url() +
                ": create_session: the reply is not a JSON object: it is a page: something else "
                "than the API has answered; check the address, and any proxy");
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

TEST(ServiceClientTest, ACheckpointIsDeletedByItsRunAndItsId) {
  TinkerScript tinker;
  auto service = ServiceClient::connect(tinker.options()).value();
  const std::string runs = TinkerScript::path("training_runs/");
  tinker.server().script("DELETE", runs, {mocks::Reply::json("", 204), mocks::Reply::json("{}")});
  EXPECT_TRUE(service.delete_checkpoint("tinker://s:train:0/weights/a").get().ok());
  EXPECT_TRUE(service.delete_checkpoint("tinker://run/sampler_weights/what?").get().ok());
  std::vector<std::string> asked;
  for (const auto& request : tinker.server().log()) {
    if (request.method == "DELETE") asked.push_back(request.target);
  }
  ASSERT_EQ(asked.size(), 2u);
  EXPECT_EQ(asked[0], runs + "s:train:0/checkpoints/weights/a");
  EXPECT_EQ(asked[1], runs + "run/checkpoints/sampler_weights/what%3F");
}

TEST(ServiceClientTest, ACheckpointThatALostReplyDeletedIsDeleted) {
  TinkerScript tinker;
  auto service = ServiceClient::connect(tinker.options()).value();
  const std::string runs = TinkerScript::path("training_runs/");
  for (const mocks::Reply& lost : {mocks::Reply::hang_up(), mocks::Reply::json("{}", 503)}) {
    tinker.server().script("DELETE", runs, {lost, mocks::Reply::json("{}", 404)});
    const auto deleted = service.delete_checkpoint("tinker://run/weights/a").get();
    EXPECT_TRUE(deleted.ok()) << deleted.error().what();
  }
  EXPECT_EQ(tinker.server().count(runs), 4u);
}

TEST(ServiceClientTest, WhatCannotBeDeletedIsAnError) {
  TinkerScript tinker;
  auto service = ServiceClient::connect(tinker.options()).value();
  const std::size_t before = tinker.server().count();
  // Dots would make it another resource: all of the run's, or another run's.
  for (const char* path : {"step-1", "tinker://run/weights/..", "tinker://run/weights/.",
                           "tinker://../weights/a", "tinker://run/..", "tinker://../a"}) {
    const auto refused = service.delete_checkpoint(path).get();
    ASSERT_FALSE(refused.ok()) << path;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument) << path;
  }
  EXPECT_EQ(tinker.server().count(), before);  // It is not even asked for.
  const auto unknown = service.delete_checkpoint("tinker://run/weights/a").get();
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().http_status(), 404);
}

}  // namespace
}  // namespace tinkex
