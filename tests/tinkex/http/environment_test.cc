// What the I/O thread makes of proxies, and that it leaves the environment alone.

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/tinkex/http/exchange.h"
#include "tinkex/http/io_thread.h"
#include "tinkex/mocks/scripted_server.h"

namespace {

std::mutex names_mutex;
std::vector<std::string> names_asked_for;  ///< By other threads than the main one.
const std::thread::id main_thread = std::this_thread::get_id();

}  // namespace

/// libcurl calls this one.
extern "C" char* getenv(const char* name) noexcept {
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
using ::testing::IsEmpty;

class EnvironmentTest : public ::testing::Test {
 protected:
  EnvironmentTest() {
    server_.handle("", "", [](const LoggedRequest&) { return Reply::json("{}"); });
  }

  static Result<HttpResponse> ask(const std::string& url, CurlSettings settings) {
    const auto io = IoThread::start(std::make_shared<SteadyClock>(), std::move(settings)).value();
    return fetch(*io, post(url, "hi"));
  }

  ScriptedServer server_;
};

TEST_F(EnvironmentTest, TheIoThreadAsksForNoVariable) {
  std::thread([] { (void)::getenv("HOME"); }).join();
  {
    const std::lock_guard lock(names_mutex);
    ASSERT_THAT(names_asked_for, ::testing::ElementsAre("HOME"));  // libcurl finds ours, too
    names_asked_for.clear();
  }
  EXPECT_TRUE(ask(server_.base_url() + "/x", {}).ok());
  EXPECT_FALSE(ask("http://127.1.2.3:1/x", {}).ok());
  EXPECT_FALSE(ask("http://192.0.2.1:1/x", {.http_proxy = "http://127.0.0.1:1"}).ok());
  const std::lock_guard lock(names_mutex);
  EXPECT_THAT(names_asked_for, IsEmpty());
}

TEST_F(EnvironmentTest, AProxyIsForOtherMachinesThanThisAndThoseThatAreNamed) {
  const std::string proxy = server_.base_url();
  EXPECT_TRUE(ask("http://192.0.2.1:1/x", {.http_proxy = proxy}).ok());
  EXPECT_EQ(server_.log().back().target, "http://192.0.2.1:1/x");
  EXPECT_TRUE(ask(proxy + "/y", {.http_proxy = "http://127.0.0.1:1"}).ok());
  EXPECT_EQ(server_.log().back().target, "/y");
  const std::size_t so_far = server_.log().size();
  // Whether these arrive somewhere is the network's affair.
  (void)ask("http://127.0.0.1:1/z", {.http_proxy = proxy});
  (void)ask("http://a.invalid:1/z", {.http_proxy = proxy, .no_proxy = "b,a.invalid"});
  (void)ask("https://a.invalid:1/z", {.http_proxy = proxy, .https_proxy = "http://[::1]:1"});
  EXPECT_EQ(server_.log().size(), so_far);
}

}  // namespace
}  // namespace tinkex::http
