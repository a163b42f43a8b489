#include "tinkex/base/json_problem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tinkex::internal {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(JsonProblemTest, ItSaysInOurWordsWhatIsWrong) {
  EXPECT_EQ(json_problem(""), "it is empty");
  EXPECT_EQ(json_problem(" \n"), "it is empty");
  EXPECT_THAT(json_problem("\n<html><head>Bad gateway</head>"),
              AllOf(HasSubstr("it is a page"), HasSubstr("proxy")));
  EXPECT_EQ(json_problem(R"({"a":[1,2)"),
            "it breaks off after 9 bytes; the rest was lost on the way, or never sent");
  EXPECT_THAT(json_problem(R"({"a":"x)"), HasSubstr("breaks off after 7 bytes"));
  EXPECT_THAT(json_problem(R"({"a":[NaN]})"), HasSubstr("it has NaN at byte 7"));
  EXPECT_THAT(json_problem(R"({"a":-Infinity})"), HasSubstr("it has -Infinity at byte"));
  EXPECT_THAT(json_problem(R"({"a":[1,1e999]})"),
              HasSubstr("the number that ends at byte 13 is too large"));
  EXPECT_EQ(json_problem(R"({"a":1,,})"), "it makes no sense at byte 8");
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

TEST(JsonProblemTest, ItQuotesNothingOfTheTextForKeysMayBeInIt) {
  const std::string secret = "local-secret";
  for (const std::string& text :
       {"<pre>X-API-Key: " + secret + "</pre>", "{\"k\":\"" + secret + "\"x}", "[" + secret + "]",
        "{\"k\":\"" + secret + "\n", secret, "[\"" + secret + "\",NaN]"}) {
    EXPECT_THAT(json_problem(text), Not(HasSubstr("secret")));
  }
  EXPECT_EQ(json_problem("[1234567890123e999]"), "the number that ends at byte 18 is too large");
}

}  // namespace
}  // namespace tinkex::internal
