#include "tinkex/retry/classify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tinkex::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::EndsWith;

// Of a server that has keys of its own kind.
constexpr std::array<std::string_view, 1> kSecrets{"own-key-1"};
constexpr auto kRetry = RetryDecision::kRetry;
constexpr auto kGiveUp = RetryDecision::kGiveUp;
constexpr auto kUnknown = ErrorCategory::kUnknown;
constexpr auto kServer = ErrorCategory::kServer;
constexpr auto kUser = ErrorCategory::kUser;

HttpResponse reply(int status, HttpHeaders headers = {}, std::string body = {}) {
  return {.status = status, .headers = std::move(headers), .body = std::move(body)};
}

struct Row {
  int status;
  ErrorCategory category;
  const char* hint;  // x-should-retry, or null
  bool outcome_unknown;
  RetryDecision expected;
};

class TruthTableTest : public testing::TestWithParam<Row> {};

// Spec H8.
TEST_P(TruthTableTest, H8_DecidesAsWritten) {
  const Row& row = GetParam();
  HttpHeaders headers;
  if (row.hint != nullptr) headers.emplace_back("x-should-retry", row.hint);
  EXPECT_EQ(decide(reply(row.status, headers), row.category, row.outcome_unknown), row.expected)
      << row.status << " " << to_string(row.category) << " hint " << (row.hint ? row.hint : "none")
      << " unknown outcome " << row.outcome_unknown;
}

std::vector<Row> truth_table() {
  std::vector<Row> rows = {
      // The hint comes first, against every other rule.
      {400, kUser, "true", false, kRetry},
      {404, kUnknown, "TRUE", false, kRetry},
      {503, kServer, "false", false, kGiveUp},
      {429, kUnknown, "False", false, kGiveUp},
      {409, kUnknown, "false", true, kGiveUp},
      // Anything but true and false is no hint.
      {503, kUnknown, "maybe", false, kRetry},
      {503, kUnknown, "", false, kRetry},
      {404, kUnknown, "1", false, kGiveUp},
      // The user's own mistake is never repeated.
      {408, kUser, nullptr, false, kGiveUp},
      {409, kUser, nullptr, true, kGiveUp},
      {429, kUser, nullptr, false, kGiveUp},
      {500, kUser, nullptr, false, kGiveUp},
      // A conflict may be our own earlier attempt, if its outcome is unknown.
      {409, kUnknown, nullptr, false, kGiveUp},
      {409, kUnknown, nullptr, true, kRetry},
      {409, kServer, nullptr, true, kRetry},
  };
  for (const ErrorCategory category : {kUnknown, kServer}) {
    for (const bool unknown : {false, true}) {
      for (const int status : {408, 429, 500, 501, 502, 503, 504, 529, 599}) {
        rows.push_back({status, category, nullptr, unknown, kRetry});
      }
      for (const int status : {301, 302, 307, 308, 400, 401, 402, 403, 404, 405,
                               410, 411, 413, 415, 418, 422, 424, 425, 451, 499}) {
        rows.push_back({status, category, nullptr, unknown, kGiveUp});
      }
    }
  }
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Rows, TruthTableTest, testing::ValuesIn(truth_table()));

// Spec H8.
TEST(DecideTest, H8_Property_TheHintAlwaysWins) {
  ASSERT_TRUE(rc::check([] {
    const int status = *rc::gen::inRange(300, 600);
    const auto category = *rc::gen::element(kUnknown, kServer, kUser);
    const bool unknown = *rc::gen::arbitrary<bool>();
    const bool hint = *rc::gen::arbitrary<bool>();
    const HttpResponse response = reply(status, {{"x-should-retry", hint ? "true" : "false"}});
    RC_ASSERT(decide(response, category, unknown) == (hint ? kRetry : kGiveUp));
  }));
}

// Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110.
const auto kWallClock = std::chrono::system_clock::from_time_t(784111777);

std::optional<std::int64_t> delay_ms(HttpHeaders headers) {
  const auto delay = parse_retry_after(reply(429, std::move(headers)), kWallClock, seconds(60));
  if (!delay) return std::nullopt;
  return delay->count();
}

// Spec S10.
TEST(RetryAfterTest, S10_MillisecondsComeBeforeSeconds) {
  EXPECT_EQ(delay_ms({{"retry-after-ms", "120"}, {"retry-after", "7"}}), 120);
  EXPECT_EQ(delay_ms({{"retry-after-ms", "0.5"}}), 1) << "rounded up, never to nothing";
  EXPECT_EQ(delay_ms({{"retry-after-ms", "soon"}, {"retry-after", "7"}}), 7'000);
}

// Spec S10.
TEST(RetryAfterTest, S10_SecondsMayHaveAFraction) {
  EXPECT_EQ(delay_ms({{"retry-after", "2"}}), 2'000);
  EXPECT_EQ(delay_ms({{"retry-after", "1.25"}}), 1'250);
}

TEST(RetryAfterTest, HttpDatesInAllThreeForms) {
  EXPECT_EQ(delay_ms({{"retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"}}), 10'000);
  EXPECT_EQ(delay_ms({{"retry-after", "Sunday, 06-Nov-94 08:49:47 GMT"}}), 10'000);
  EXPECT_EQ(delay_ms({{"retry-after", "Sun Nov  6 08:49:47 1994"}}), 10'000);
}

TEST(RetryAfterTest, LongDelaysAreCut) {
  EXPECT_EQ(delay_ms({{"retry-after", "3600"}}), 60'000);
  EXPECT_EQ(delay_ms({{"retry-after", "1e308"}}), 60'000);
  EXPECT_EQ(delay_ms({{"retry-after", "Sun, 06 Nov 2094 08:49:47 GMT"}}), 60'000);
  EXPECT_EQ(delay_ms({{"retry-after", "Sat, 06 Nov 9999 08:49:47 GMT"}}), 60'000)
      << "beyond what nanoseconds can count";
}

TEST(RetryAfterTest, ThePastAndNonsenseGiveNothing) {
  EXPECT_EQ(delay_ms({}), std::nullopt);
  for (const char* text : {"", "0", "-5", "nan", "inf", "soon", "5 apples", "1,5",
                           "Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1993 08:49:37 GMT"}) {
    EXPECT_EQ(delay_ms({{"retry-after", text}}), std::nullopt) << text;
  }
}

std::string message_for(const std::string& body) {
  return error_from_response(reply(418, {}, body), "sample", kSecrets).message();
}

TEST(ErrorFromResponseTest, TakesTheServersOwnWords) {
  EXPECT_EQ(message_for(R"({"detail": "no such model"})"),
            "sample: the server answered 418: no such model");
  EXPECT_EQ(message_for(R"({"message": "m", "error": "e"})"), "sample: the server answered 418: m");
  EXPECT_EQ(message_for(R"({"error": {"message": "inner"}})"),
            "sample: the server answered 418: inner");
  EXPECT_EQ(message_for("plain text"), "sample: the server answered 418: plain text");
  EXPECT_EQ(message_for(""), "sample: the server answered 418");
}

TEST(ErrorFromResponseTest, ValidationListsNameTheFields) {
  EXPECT_EQ(message_for(R"({"detail": [{"loc": ["body", "data", 0], "msg": "field required"},
                                       {"msg": "too long"}, "other", 7]})"),
            "sample: the server answered 418: body.data.0: field required; too long; other; 7");
}

TEST(ErrorFromResponseTest, CarriesStatusCategoryDelayAndRetryability) {
  const Error error = error_from_response(
      reply(429, {{"retry-after-ms", "120"}}, R"({"category": "Server", "detail": "slow down"})"),
      "sample", kSecrets);
  EXPECT_EQ(error.code(), ErrorCode::kHttpStatus);
  EXPECT_EQ(error.http_status(), 429);
  EXPECT_EQ(error.category(), kServer);
  EXPECT_EQ(error.retry_after(), milliseconds(120));
  EXPECT_TRUE(error.retryable());
  const Error refused =
      error_from_response(reply(400, {}, R"({"category": "user"})"), "sample", kSecrets);
  EXPECT_EQ(refused.category(), kUser);
  EXPECT_FALSE(refused.retryable());
}

// Spec S10.
TEST(ErrorFromResponseTest, S10_TheDelayMayStandInTheBody) {
  const auto delay = [](const char* body) {
    return error_from_response(reply(429, {}, body), "sample", kSecrets).retry_after();
  };
  EXPECT_EQ(delay(R"({"retry_after_ms": 250})"), milliseconds(250));
  EXPECT_EQ(delay(R"({"retry_after_ms": -1})"), std::nullopt);
  EXPECT_EQ(delay(R"({"retry_after_ms": "soon"})"), std::nullopt);
}

TEST(ErrorFromResponseTest, HostileBodiesGiveABoundedLine) {
  const std::string deep(200'000, '[');
  const std::string deep_closed = deep + std::string(200'000, ']');
  const std::vector<std::string> bodies = {
      deep,
      deep_closed.substr(100'000, 200'000),
      "{\"detail\": " + std::string(50'000, '[') + std::string(50'000, ']') + "}",
      "{\"detail\": \"" + std::string(300'000, 'x') + "\"}",
      std::string(2'000'000, 'x'),
      "{\"detail\": \"\\u0000\\n\\u001b[2J\\ud800\"}",
      std::string("\xff\xfe\x00\x1b[2J\n", 8),
      R"({"detail": {"message": {"error": {}}}})",
      R"({"detail": {}, "message": [], "error": null})",
      R"({"detail": [{"loc": "x", "msg": 5}, {"loc": [[[]]], "msg": "m"}]})",
      R"({"category": 5, "retry_after_ms": 1e999})",
  };
  for (const std::string& body : bodies) {
    const std::string message = message_for(body);
    EXPECT_LT(message.size(), 1'100U) << message.substr(0, 80);
    for (const char c : message) ASSERT_GE(static_cast<unsigned char>(c), 0x20) << message;
  }
}

TEST(ErrorFromResponseTest, AnEchoedCredentialIsNotRepeated) {
  for (const std::string key : {"tml-abcDEF_123-x", "eyJhbGciOi.J9eyJ.zzz"}) {
    for (const std::string& body :
         {"X-API-Key: " + key + ", why?", R"({"detail": "bad key ')" + key + R"('"})",
          std::string(1'990, ' ') + key}) {
      const std::string message = message_for(body);
      EXPECT_EQ(message.find(key.substr(0, 8)), std::string::npos) << message;
    }
  }
  EXPECT_EQ(message_for("key tml-abcdef, why?"), "sample: the server answered 418: key ***, why?");
  EXPECT_EQ(message_for(R"({"key:\n)"
                        "tml-0123456789"),
            "sample: the server answered 418: {\"key:\\n***")
      << "an escaped line break, in a body that is no JSON";
  EXPECT_EQ(message_for("an html-page"), "sample: the server answered 418: an html-page");
}

TEST(ErrorFromResponseTest, OurOwnKeyIsNotRepeatedWhateverItLooksLike) {
  EXPECT_EQ(message_for(R"({"detail": "bad key own-key-1/own-key-1!"})"),
            "sample: the server answered 418: bad key ***/***!");
  EXPECT_EQ(message_for("own-key-12 is not own-key"),
            "sample: the server answered 418: ***2 is not own-key");
  std::string many;  // as many as are looked at; the last is cut in the middle
  for (int i = 0; i < 400; ++i) many += "own-key-1 ";
  for (int spaces = 0; spaces < 10; ++spaces) {
    const std::string message =
        message_for(std::string(static_cast<std::size_t>(spaces), 'x') + many);
    EXPECT_EQ(message.find("own"), std::string::npos) << message.substr(message.size() - 30);
  }
  EXPECT_EQ(error_from_response(reply(418, {}, "own-key-1"), "sample", {}).message(),
            "sample: the server answered 418: own-key-1")
      << "there is no key to hide";
}

TEST(ErrorFromResponseTest, ASecretWithinALongerOneLeavesNothingOfThat) {
  constexpr std::string_view kSecrets[] = {"middle", "before-middle-after"};
  EXPECT_EQ(error_from_response(reply(418, {}, "it was before-middle-after, or middle"), "sample",
                                kSecrets)
                .message(),
            "sample: the server answered 418: it was ***, or ***");
}

// The header of a proxy's password is libcurl's, so that nobody else knows it.
TEST(ErrorFromResponseTest, WhatBasicAuthenticationSendsIsNotShown) {
  const auto message = [](const char* body) {
    return error_from_response(reply(418, {}, body), "sample", {}).message();
  };
  EXPECT_EQ(message("Proxy-Authorization: Basic dXNlcjpw+YXNz/d29yZA== end"),
            "sample: the server answered 418: Proxy-Authorization: Basic *** end");
  EXPECT_EQ(message("basic  eA== eA=="), "sample: the server answered 418: basic  *** eA==");
  EXPECT_EQ(message("Basic authentication is needed; Basic"),
            "sample: the server answered 418: Basic authentication is needed; Basic");
}

TEST(SecretsTest, TheHeadersThatCarryCredentialsAreKnownByTheirNames) {
  HttpRequest request;
  request.headers = {{"Accept", "application/json"},
                     {"X-API-Key", "tml-abc"},
                     {"authorization", "Bearer of-a-gateway"},
                     {"Proxy-Authorization", "short"},
                     {"X-Gateway-Token", "123456"}};
  EXPECT_THAT(secrets_of(request), ElementsAre("tml-abc", "of-a-gateway", "123456"));
}

TEST(ErrorFromResponseTest, Property_AnyBodyGivesOneBoundedPrintableLine) {
  ASSERT_TRUE(rc::check([](const std::string& body) {
    const std::string message = message_for(body);
    RC_ASSERT(message.size() < 1'100U);
    for (const char c : message) RC_ASSERT(static_cast<unsigned char>(c) >= 0x20);
  }));
}

TEST(ErrorFromResponseTest, TheBaseUrlIsDoubtedOnlyWhereTheServerSaysNoMore) {
  const auto message = [](const char* body) {
    return error_from_response(reply(404, {}, body), "create_model", kSecrets).message();
  };
  constexpr char kDoubt[] = " (does this server have it, and is the base URL right?)";
  for (const char* body :
       {"", "<html>", R"({"detail": "Not Found"})", R"({"error": "not found"})"}) {
    EXPECT_THAT(message(body), EndsWith(kDoubt)) << body;
  }
  EXPECT_EQ(message(R"({"detail": "no such checkpoint"})"),
            "create_model: the server answered 404: no such checkpoint");
}

}  // namespace
}  // namespace tinkex::internal
