// What the I/O thread makes of proxies, and that it leaves the environment alone.

#include <curl/curl.h>
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/tinkex/http/exchange.h"
#include "tinkex/http/io_thread.h"
#include "tinkex/mocks/scripted_server.h"

namespace {

std::mutex names_mutex;
std::vector<std::string> names_asked_for;  ///< By other threads than the main one.
const std::thread::id main_thread = std::this_thread::get_id();

}  // namespace

/// libcurl calls this one, as it is visible.
extern "C" __attribute__((visibility("default"))) char* getenv(const char* name) noexcept {
  static const auto real = reinterpret_cast<char* (*)(const char*)>(::dlsym(RTLD_NEXT, "getenv"));
  if (std::this_thread::get_id() != main_thread) {
    const std::lock_guard lock(names_mutex);
    names_asked_for.emplace_back(name);
  }
  return real(name);
}

namespace tinkex::http {
namespace {

using internal::CurlSettings;
using internal::IoThread;
using mocks::LoggedRequest;
using mocks::Reply;
using mocks::ScriptedServer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class EnvironmentTest : public ::testing::Test {
 protected:
  EnvironmentTest() {
    server_.handle("", "", [](const LoggedRequest&) { return Reply::json("{}"); });
  }

  static Result<HttpResponse> ask(const std::string& url, CurlSettings settings) {
    const auto io = IoThread::start(std::make_shared<SteadyClock>(), std::move(settings)).value();
    return fetch(*io, post(url, "hi"));
  }

  /// Since the last time.
  static std::vector<std::string> asked_for() {
    const std::lock_guard lock(names_mutex);
    return std::exchange(names_asked_for, {});
  }

  ScriptedServer server_;
};

TEST_F(EnvironmentTest, TheIoThreadAsksForNoVariable) {
  (void)asked_for();  // by the libraries, as they were loaded
  std::thread([] { curl_free(curl_getenv("HOME")); }).join();
  ASSERT_THAT(asked_for(), ElementsAre("HOME"));
  EXPECT_TRUE(ask(server_.base_url() + "/x", {}).ok());
  EXPECT_FALSE(ask("http://127.1.2.3:1/x", {}).ok());
  EXPECT_FALSE(ask("http://192.0.2.1:1/x", {.http_proxy = "http://127.0.0.1:1"}).ok());
  EXPECT_FALSE(ask("https://127.0.0.1:1/x", {}).ok());
  EXPECT_THAT(asked_for(), IsEmpty());
}

TEST_F(EnvironmentTest, AProxyIsForOtherMachinesThanThisAndThoseThatAreNamed) {
  const std::string proxy = server_.base_url();
  EXPECT_TRUE(ask("http://192.0.2.1:1/x", {.http_proxy = proxy}).ok());
  EXPECT_EQ(server_.log().back().target, "http://192.0.2.1:1/x");
  EXPECT_TRUE(ask(proxy + "/y", {.http_proxy = "http://127.0.0.1:1"}).ok());
  EXPECT_EQ(server_.log().back().target, "/y");
  (void)ask("https://192.0.2.1:1/x", {.http_proxy = "http://127.0.0.1:1", .https_proxy = proxy});
  EXPECT_EQ(server_.log().back().method, "CONNECT");
  const std::string any = "http://0.0.0.0" + proxy.substr(proxy.rfind(':'));  // not loopback
  EXPECT_TRUE(ask(any + "/z", {.http_proxy = "http://127.0.0.1:1", .no_proxy = "b,0.0.0.0"}).ok());
  EXPECT_EQ(server_.log().back().target, "/z");
  EXPECT_FALSE(ask(any + "/z", {.http_proxy = "http://127.0.0.1:1"}).ok());
}

TEST_F(EnvironmentTest, AProxyThatCannotBeUsedIsNotShown) {
  for (const char* proxy :
       {"http://user:se/cret@127.0.0.1:1", "odd://user:se/cret@127.0.0.1",
        "http://user:s@cret.invalid/x@127.0.0.1:1", "http://cret:1/x@127.0.0.1:1",
        "cret.invalid?x@127.0.0.1:1", "http://user:s@e@cret.invalid:1"}) {
    const Error error = ask("http://192.0.2.1:1/x", {.http_proxy = proxy}).error();
    EXPECT_THAT(error.message(), Not(HasSubstr("cret"))) << proxy;
    EXPECT_THAT(error.message(), HasSubstr("http_proxy")) << proxy;
    EXPECT_FALSE(error.retryable()) << proxy;
  }
}

TEST_F(EnvironmentTest, AProxyThatRefusesATunnelIsNamedAndNotAskedAgain) {
  for (const auto& [status, again] :
       {std::pair{407, false}, {403, false}, {429, true}, {502, true}}) {
    ScriptedServer proxy;
    proxy.handle("CONNECT", "",
                 [status = status](const LoggedRequest&) { return Reply::json("{}", status); });
    const Error error = ask("https://192.0.2.1:1/x", {.https_proxy = proxy.base_url()}).error();
    EXPECT_THAT(error.message(), HasSubstr("https_proxy")) << status;
    EXPECT_THAT(error.message(), HasSubstr(std::to_string(status))) << status;
    EXPECT_EQ(error.retryable(), again) << status;
    EXPECT_TRUE(error.not_accepted()) << status;
  }
}

// The tunnel's own bytes are none of the request's.
TEST_F(EnvironmentTest, WhatBreaksBehindATunnelBeforeTheRequestWasNotAccepted) {
  const Error error = ask("https://192.0.2.1:1/x", {.https_proxy = server_.base_url()}).error();
  EXPECT_TRUE(error.not_accepted()) << error.message();
}

}  // namespace
}  // namespace tinkex::http
