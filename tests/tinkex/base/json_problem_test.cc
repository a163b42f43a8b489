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
              AllOf(HasSubstr("'<html><head>Bad gateway</head>'"), HasSubstr("proxy")));
  EXPECT_THAT(json_problem(R"({"a":[1,2)"), HasSubstr("breaks off after 9 bytes"));
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

}  // namespace
}  // namespace tinkex::internal
