#include "tinkex/wire/json_parser.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include "gtest/gtest.h"
#include "tinkex/error.h"
#include "tinkex/wire/json_reader.h"

namespace tinkex::wire::json {
namespace {

std::string error_of(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

// What nlohmann alone makes of the text, in the form that the tests compare.
Json unpacked(const Json& value) {
  if (is_packed_integers(value)) return unpack_integers(value);
  if (is_packed(value)) {
    Json array = Json::array();
    for (const double real : unpack_reals(value)) {
      array.push_back(std::isnan(real) ? Json(nullptr) : Json(real));
    }
    return array;
  }
  if (!value.is_structured()) return value;
  Json copy = value;
  for (auto& element : copy) element = unpacked(element);
  return copy;
}

TEST(JsonParserTest, TreeIsTheOneThatNlohmannAloneBuilds) {
  for (const char* text : {"[]",
                           "{}",
                           "[ ]",
                           "[[]]",
                           "[[],[ ],{}]",
                           R"({"b":[],"a":[1],"c":{"z":[],"y":[2.5]}})",
                           "[1,2,3]",
                           "[ 1 ,\n-2\t,\r3 ]",
                           "[0,-0,10]",
                           "[1.5,2]",
                           "[1e3,-1.25E-2]",
                           "[null]",
                           "[null,1]",
                           "[1,null,2.5]",
                           R"([1,"2"])",
                           "[1,[2,3],4]",
                           "[true,1]",
                           "null",
                           "5",
                           R"("[1,2]")",
                           R"({"[1]":"\"[2]","\\":[3]})",
                           "[[1,-0.5],null,[[2,0.25]]]",
                           "[9223372036854775807,-9223372036854775808]",
                           "[1e-999]",
                           "[null,null]",
                           R"({"a":[1],"a":[2]})",
                           R"([{"x":[]},[],{"x":[7]}])"}) {
    EXPECT_EQ(unpacked(parse(text)), Json::parse(text)) << text;
  }
}

TEST(JsonParserTest, OnlyArraysOfNumbersArePacked) {
  EXPECT_TRUE(is_packed_integers(parse("[1,-2]")));
  EXPECT_TRUE(is_packed_integers(parse("[]")));
  EXPECT_TRUE(is_packed(parse("[1,2.5,null]")));
  EXPECT_FALSE(is_packed_integers(parse("[1,2.5,null]")));
  EXPECT_FALSE(is_packed(parse("[null]")));
  EXPECT_FALSE(is_packed(parse("[1,true]")));
  EXPECT_FALSE(is_packed(parse("[1,[2]]")));
}

TEST(JsonParserTest, WhatJsonForbidsIsRefused) {
  for (const char* text : {"",
                           "[",
                           "[1",
                           "[1,",
                           "[1,]",
                           "[,1]",
                           "[1 2]",
                           "[01]",
                           "[-]",
                           "[1.]",
                           "[.5]",
                           "[1e]",
                           "[1e+]",
                           "[+1]",
                           "[inf]",
                           "[-inf]",
                           "[nan]",
                           "[NaN]",
                           "[0x1]",
                           "[1e999]",
                           "[nul]",
                           "[]]",
                           "[1]]",
                           "{[1]}",
                           R"({"a":[1]"b":[2]})",
                           R"({"a" [1]})",
                           R"(["\)",
                           "[1]x",
                           "\xef\xbb[1]"}) {
    EXPECT_NE(error_of(text).find("not valid JSON: "), std::string::npos) << text;
  }
}

TEST(JsonParserTest, ErrorGivesThePlaceInTheTextItself) {
  EXPECT_NE(error_of(R"({"a":[1,2,3,4,5],"b":x})").find("byte 22"), std::string::npos)
      << error_of(R"({"a":[1,2,3,4,5],"b":x})");
}

TEST(JsonParserTest, NumbersReadBackToTheLastBit) {
  std::mt19937_64 random(3);
  Json array = Json::array();
  std::vector<double> expected;
  while (expected.size() < 20'000) {
    const std::uint64_t bits = random();
    double value = 0.0;
    std::memcpy(&value, &bits, sizeof(value));
    if (!std::isfinite(value)) continue;
    expected.push_back(value);
    array.push_back(value);
  }
  EXPECT_EQ(unpack_reals(parse(array.dump())), expected);
}

TEST(JsonReaderTest, IntegersAreExactOrRefused) {
  EXPECT_EQ(read_integers(parse("[9007199254740993,2]"), "x"),
            (std::vector<std::int64_t>{9007199254740993, 2}));
  EXPECT_EQ(read_integers(parse("[1.0,-3e2]"), "x"), (std::vector<std::int64_t>{1, -300}));
  // Beside a float the large one is read as a double, which rounds it.
  EXPECT_THROW(read_integers(parse("[9007199254740993,2.0]"), "x"), Error);
  EXPECT_THROW(read_integers(parse("[9223372036854775808]"), "x"), Error);
  EXPECT_THROW(read_integers(parse("[1,null]"), "x"), Error);
  EXPECT_THROW(read_integers(parse("[1,0.5]"), "x"), Error);
  EXPECT_THROW(read_integers(parse("[1,true]"), "x"), Error);
}

TEST(JsonReaderTest, NumbersThatUnderflowAreZero) {
  EXPECT_EQ(read_floats(parse("[1e-999,1]"), "x"), (std::vector<float>{0.0f, 1.0f}));
}

TEST(JsonReaderTest, AllUndefinedNumbersAreRead) {
  const std::vector<float> floats = read_floats(parse("[null,null]"), "x");
  ASSERT_EQ(floats.size(), 2u);
  EXPECT_TRUE(std::isnan(floats[0]) && std::isnan(floats[1]));
}

}  // namespace
}  // namespace tinkex::wire::json
