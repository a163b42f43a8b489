#include "tinkex/config/resolve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace tinkex {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

class ResolveTest : public ::testing::Test {
 protected:
  ResolveTest() {
    for (const char* name : kVariables) ::unsetenv(name);
  }
  ~ResolveTest() override {
    for (const char* name : kVariables) ::unsetenv(name);
  }

  static constexpr const char* kVariables[] = {"TINKER_BASE_URL", "TINKER_API_KEY",
                                               "TINKER_PROJECT_ID", "TINKER_TAGS", "SSL_CERT_FILE"};
};

ClientOptions options_for(std::string base_url, Secret api_key = {}) {
  ClientOptions options;
  options.base_url = std::move(base_url);
  options.api_key = std::move(api_key);
  return options;
}

std::string complaint(ClientOptions options) {
  const auto resolved = resolve_options(std::move(options));
  if (resolved.ok()) return "(accepted)";
  EXPECT_EQ(resolved.error().code(), ErrorCode::kInvalidArgument);
  return resolved.error().message();
}

// Spec C5.
TEST_F(ResolveTest, C5_AnExplicitValueWinsOverTheEnvironmentAndThatOverTheDefault) {
  ::setenv("TINKER_API_KEY", "tml-from-environment", 1);
  const auto hosted = resolve_options({}).value();
  EXPECT_THAT(hosted.base_url, HasSubstr("https://tinker."));
  EXPECT_EQ(hosted.api_key, Secret("tml-from-environment"));

  ::setenv("TINKER_BASE_URL", "https://from-environment/x/", 1);
  ::setenv("TINKER_TAGS", "a, b,,c", 1);
  const auto filled = resolve_options({}).value();
  EXPECT_EQ(filled.base_url, "https://from-environment/x");
  EXPECT_THAT(filled.tags, ElementsAre("a", "b", "c"));

  const auto explicit_one = resolve_options(options_for("https://mine", "tml-mine")).value();
  EXPECT_EQ(explicit_one.base_url, "https://mine");
  EXPECT_EQ(explicit_one.api_key, Secret("tml-mine"));
}

TEST_F(ResolveTest, AnEmptyVariableCountsAsUnset) {
  ::setenv("TINKER_API_KEY", "", 1);
  EXPECT_THAT(complaint(options_for("https://h")), HasSubstr("set TINKER_API_KEY"));
}

TEST_F(ResolveTest, AMissingKeyIsToldWithHowToNameAnotherServer) {
  const std::string end =
      "; give api_key or set TINKER_API_KEY, or name another server by base_url";
  EXPECT_THAT(complaint({}), EndsWith(end + " or TINKER_BASE_URL"));
  ::setenv("TINKER_BASE_URL", "https://from-environment", 1);
  EXPECT_EQ(complaint({}),
            "api_key: there is none for from-environment" + end + " or TINKER_BASE_URL");
  EXPECT_EQ(complaint(options_for("https://h")), "api_key: there is none for h" + end)
      << "where it is given, the variable changes nothing";
}

TEST_F(ResolveTest, OnlyLoopbackNeedsNoKey) {
  for (const char* url :
       {"http://localhost:1", "http://127.0.0.1", "http://127.9.9.9:8/x", "http://[::1]:8080"}) {
    EXPECT_EQ(complaint(options_for(url)), "(accepted)") << url;
  }
  for (const char* url : {"https://h", "http://localhost.example.com", "http://[::2]:1"}) {
    EXPECT_THAT(complaint(options_for(url)), HasSubstr("there is none for")) << url;
  }
}

TEST_F(ResolveTest, WhatIsNoBaseUrlIsRefused) {
  for (const char* url : {"ftp://h", "h:80", "http://", "://", "http//h", "https://h?x=1",
                          "https://h/#f", "https://h/a b", "https://h/\r\nX: y"}) {
    EXPECT_THAT(complaint(options_for(url, "tml-x")), HasSubstr("base_url: '")) << url;
  }
}

TEST_F(ResolveTest, DotsInThePathOfABaseUrlAreResolved) {
  const std::pair<const char*, const char*> urls[] = {
      {"https://h.example/a/../b/./c/", "https://h.example/b/c"},
      {"https://h/a/..", "https://h"},
      {"https://h/../../x/.", "https://h/x"},
      {"https://h/v1.0/..a/b.", "https://h/v1.0/..a/b."},
      {"https://h/a//b", "https://h/a//b"}};
  for (const auto& [given, meant] : urls) {
    EXPECT_EQ(resolve_options(options_for(given, "tml-k")).value().base_url, meant) << given;
  }
}

TEST_F(ResolveTest, TheSchemeOfABaseUrlMayBeWrittenInCapitals) {
  ClientOptions options;
  options.base_url = "HTTPS://Example.com/Api";
  options.api_key = "tml-key";
  EXPECT_EQ(resolve_options(options).value().base_url, "https://Example.com/Api");
}

TEST_F(ResolveTest, APortThatIsNoneIsRefused) {
  for (const char* port : {"0", "65536", "99999999999", "8x", "x", "-1"}) {
    for (const char* host : {"http://h:", "http://[::1]:"}) {
      EXPECT_THAT(complaint(options_for(std::string(host) + port + "/p", "tml-x")),
                  HasSubstr("base_url: '" + std::string(host) + port +
                            "/p' has a port that is not a number from 1 to 65535"));
    }
  }
  for (const char* url : {"http://h:65535", "http://[::1]:1", "https://h:443", "http://h:/p"}) {
    EXPECT_EQ(complaint(options_for(url, "tml-x")), "(accepted)") << url;
  }
}

TEST_F(ResolveTest, APasswordInTheUrlIsRefusedAndNotRepeated) {
  for (const char* url : {"https://me:hunter2@h/x", "ftp://me:hunter2@h", "hunter2@h"}) {
    const std::string text = complaint(options_for(url, "tml-x"));
    EXPECT_THAT(text, HasSubstr("base_url: "));
    EXPECT_THAT(text, Not(HasSubstr("hunter2"))) << url;
  }
}

TEST_F(ResolveTest, AKeyThatCouldNotBeAHeaderIsRefusedOnEveryHostAndNotRepeated) {
  for (const char* host : {"https://h", "http://127.0.0.1:8"}) {
    for (const char* key : {"tml-hunter2\r\nX-Other: 1", "tml-hunter2 ", "tml-hunter2\x80"}) {
      const std::string text = complaint(options_for(host, key));
      EXPECT_THAT(text, HasSubstr("api_key: contains"));
      EXPECT_THAT(text, Not(HasSubstr("hunter2")));
    }
  }
  EXPECT_THAT(complaint(options_for("https://h", "hunter2")), Not(HasSubstr("hunter2")));
}

TEST_F(ResolveTest, HeadersThatWouldAddLinesOfTheirOwnAreRefused) {
  const std::vector<std::pair<std::string, std::string>> bad{
      {"", "x"}, {"a:b", "x"}, {"a\nb", "x"}, {"a", "x\r\nb: y"}, {"a", std::string("x\0y", 3)}};
  for (const auto& header : bad) {
    ClientOptions options = options_for("http://localhost");
    options.default_headers = {header};
    EXPECT_THAT(complaint(std::move(options)), HasSubstr("default_headers: "));
  }
}

TEST_F(ResolveTest, AFileOfTrustedCertificatesThatCannotBeReadIsRefused) {
  const std::string path = ::testing::TempDir() + "/authority.pem";
  std::ofstream(path) << "a certificate";
  ::setenv("SSL_CERT_FILE", path.c_str(), 1);
  EXPECT_EQ(resolve_options(options_for("https://localhost")).value().ca_file, path);
  ::setenv("SSL_CERT_FILE", "/no/such/file.pem", 1);
  EXPECT_EQ(complaint(options_for("http://localhost")), "(accepted)") << "nothing is encrypted";
  EXPECT_THAT(complaint(options_for("https://localhost")), HasSubstr("ca_file: '/no/such"));
  ClientOptions options = options_for("http://localhost");
  options.ca_file = path + ".missing";
  EXPECT_THAT(complaint(options), HasSubstr("ca_file: '" + path + ".missing' cannot be read"));
  options.ca_file = ::testing::TempDir();
  EXPECT_THAT(complaint(options), HasSubstr("ca_file: ")) << "a folder";
}

TEST_F(ResolveTest, TextsThatAreNotUtf8AreRefused) {
  const auto with = [](auto change) {
    ClientOptions options = options_for("http://localhost");
    change(options);
    return complaint(std::move(options));
  };
  EXPECT_THAT(with([](auto& o) { o.project_id = "\xff"; }),
              HasSubstr("project_id: expected UTF-8"));
  EXPECT_THAT(with([](auto& o) { o.tags = {"a", "b\xc3"}; }), HasSubstr("tags: expected UTF-8"));
  EXPECT_THAT(with([](auto& o) {
                o.user_metadata = {{"\xff", "v"}};
              }),
              HasSubstr("user_metadata:"));
  EXPECT_THAT(with([](auto& o) {
                o.user_metadata = {{"run", "\xff"}};
              }),
              HasSubstr("user_metadata 'run': expected UTF-8"));
}

TEST_F(ResolveTest, NumbersThatLetNothingThroughAreRefused) {
  const auto with = [](auto change) {
    ClientOptions options = options_for("http://localhost");
    change(options);
    return complaint(std::move(options));
  };
  EXPECT_THAT(with([](auto& o) { o.chunk_limits.max_examples = 0; }), HasSubstr("max_examples"));
  EXPECT_THAT(with([](auto& o) { o.max_concurrent_polls = 0; }), HasSubstr("max_concurrent"));
  EXPECT_THAT(with([](auto& o) { o.retry.max_attempts = 0; }), HasSubstr("max_attempts"));
  EXPECT_THAT(with([](auto& o) { o.executor_threads = -1; }), HasSubstr("executor_threads"));
  EXPECT_THAT(with([](auto& o) { o.executor_threads = 1'025; }), HasSubstr("got 1025"));
  EXPECT_THAT(with([](auto& o) { o.heartbeat_interval = {}; }), HasSubstr("heartbeat_interval"));
  EXPECT_THAT(with([](auto& o) { o.poll_timeout = {}; }), HasSubstr("poll_timeout: 0 ms"));
  EXPECT_THAT(with([](auto& o) { o.max_poll_failing = {}; }), HasSubstr("max_poll_failing: 0 ms"));
  EXPECT_THAT(with([](auto& o) { o.request_timeout = -std::chrono::milliseconds(1); }),
              HasSubstr("request_timeout"));
}

}  // namespace
}  // namespace tinkex
