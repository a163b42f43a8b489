#include "tinkex/base/json_problem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

namespace tinkex::internal {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

TEST(JsonProblemTest, ItSaysInOurWordsWhatIsWrong) {
  EXPECT_EQ(json_problem(""), "it is empty");
  EXPECT_EQ(json_problem(" \n"), "it is empty");
  EXPECT_THAT(json_problem("\n<html><head>Bad gateway</head>"),
              AllOf(HasSubstr("'<html><head>Bad gateway</head>'"), HasSubstr("proxy")));
  EXPECT_EQ(json_problem(R"({"a":[1,2)"),
            "it breaks off after 9 bytes; the rest was lost on the way, or never sent");
  EXPECT_THAT(json_problem(R"({"a":"x)"), HasSubstr("breaks off after 7 bytes"));
  EXPECT_THAT(json_problem(R"({"a":[NaN]})"), HasSubstr("it has NaN at byte 7"));
  EXPECT_THAT(json_problem(R"({"a":-Infinity})"), HasSubstr("it has -Infinity at byte"));
  EXPECT_THAT(json_problem(R"({"a":[1,1e999]})"), HasSubstr("the number 1e999 in it is too large"));
  EXPECT_THAT(json_problem(R"({"a":1,,})"), HasSubstr("makes no sense at byte 8"));
  EXPECT_EQ(json_problem("{}"), "it nests too deeply");
}

TEST(JsonProblemTest, ItIsAShortLineWhateverTheTextIs) {
  const std::string bytes("\x01\xff\n\x7f{", 5);
  for (const std::string& text : {std::string("<") + std::string(100'000, '\xff'), bytes,
                                  "[" + std::string(400, '9') + "e999]"}) {
    const std::string problem = json_problem(text);
    EXPECT_LT(problem.size(), 250u);
    EXPECT_THAT(problem, Not(HasSubstr("\n")));
    EXPECT_THAT(problem, Not(HasSubstr("json.exception")));
  }
}

TEST(JsonProblemTest, AKeyThatThePageOrTheTextRepeatsIsNotShown) {
  for (const std::string& key :
       {std::string("tml-0123456789abcdef"), "eyJ" + std::string(3'000, 'a') + ".b"}) {
    EXPECT_THAT(json_problem("<pre>X-API-Key: " + key + "</pre>"),
                HasSubstr("'<pre>X-API-Key: ***</pre>'"));
    EXPECT_THAT(json_problem("{\"k\":\"" + key + "\"x}"), EndsWith("'{\"k\":\"***\"x'"))
        << "its beginning is further back than what is shown";
    EXPECT_THAT(json_problem("{\"k\":\"" + key + "\n"), EndsWith("'{\"k\":\"*** '"));
    const std::string cut = json_problem("<pre>" + std::string(50, ' ') + key);
    EXPECT_THAT(cut, Not(HasSubstr(key.substr(0, 4))));
  }
}

TEST(JsonProblemTest, AKnownSecretOfAnyFormIsNotShown) {
  constexpr std::array<std::string_view, 1> kSecrets{"123/own+secret=of/a+gateway=0123456789"};
  const std::string secret(kSecrets[0]);
  const auto problem = [&](const std::string& text) { return json_problem(text, kSecrets); };
  EXPECT_THAT(problem("<pre>" + secret + "</pre>"), HasSubstr("'<pre>***</pre>'"));
  EXPECT_THAT(problem("<" + std::string(50, ' ') + secret), Not(HasSubstr("123")));
  EXPECT_THAT(problem("{\"k\":\"" + secret + "\"x}"), EndsWith("'{\"k\":\"***\"x'"));
  EXPECT_THAT(problem("{\"k\":" + secret + "}"), EndsWith("'{\"k\":'")) << "it stops within it";
  constexpr std::array<std::string_view, 1> kDigits{"1234567890123"};
  EXPECT_THAT(json_problem("[1234567890123e999]", kDigits), HasSubstr("the number ***e999"));
}

}  // namespace
}  // namespace tinkex::internal
