#include "torch_ext/local/json_fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <string>
#include <utility>

#include "torch_ext/local/api.h"

namespace tinkex::torch_ext::local {
namespace {

using ::testing::HasSubstr;

TEST(JsonFieldsTest, ReadsWhatIsThereAndIgnoresTheRest) {
  JsonFields in(R"({"s":"x","i":7,"f":7.0,"b":true,"n":1.5,"null":null,"unknown":[{}]})");
  EXPECT_EQ(in.string("s"), "x");
  EXPECT_EQ(in.integer("i"), 7);
  EXPECT_EQ(in.integer("f"), 7);
  EXPECT_TRUE(in.boolean("b", false));
  EXPECT_EQ(in.number("n", 0), 1.5);
  EXPECT_EQ(in.number("i", 0), 7.0);
  EXPECT_FALSE(in.optional_string("null").has_value());
  EXPECT_FALSE(in.optional_integer("absent").has_value());
  EXPECT_TRUE(in.ok()) << in.error();
}

TEST(JsonFieldsTest, LargeIntegersKeepEveryDigit) {
  JsonFields in(R"({"seq":1000000000000000001,"seed":18446744073709551615,"negative":-1})");
  EXPECT_EQ(in.integer("seq"), 1'000'000'000'000'000'001);
  EXPECT_EQ(in.optional_seed("seed"), ~std::uint64_t{0});
  EXPECT_EQ(in.optional_seed("negative"), ~std::uint64_t{0});
  EXPECT_TRUE(in.ok());
}

TEST(JsonFieldsTest, WrongTypesNameTheFieldWhatIsExpectedAndWhatCame) {
  const auto complaint = [](const std::string& body, auto read) {
    JsonFields in(body);
    read(in);
    return in.error();
  };
  EXPECT_EQ(complaint(R"({"a":1})", [](JsonFields& in) { in.string("a"); }),
            "a: must be a string, not 1");
  EXPECT_EQ(complaint("{}", [](JsonFields& in) { in.string("a"); }), "a: is required");
  EXPECT_EQ(complaint(R"({"a":"x"})", [](JsonFields& in) { in.integer("a"); }),
            "a: must be an integer of 64 bits, not \"x\"");
  for (const char* number : {"1.5", "1e300", "-1e300", "9223372036854775808"}) {
    EXPECT_THAT(
        complaint("{\"a\":" + std::string(number) + "}", [](JsonFields& in) { in.integer("a"); }),
        HasSubstr("a: must be an integer"));
  }
  EXPECT_EQ(complaint(R"({"a":[1]})", [](JsonFields& in) { in.number("a", 0); }),
            "a: must be a number, not an array");
  EXPECT_EQ(complaint(R"({"m":{"k":1}})", [](JsonFields& in) { in.string_map("m"); }),
            "m.k: must be a string, not 1");
}

TEST(JsonFieldsTest, FirstComplaintStays) {
  JsonFields in("{}");
  in.string("first");
  in.string("second");
  EXPECT_EQ(in.error(), "first: is required");
}

TEST(JsonFieldsTest, PartsNameTheirPlace) {
  JsonFields in(R"({"lora_config":{"rank":"many"}})");
  JsonFields part(*in.object("lora_config"), "lora_config");
  part.integer("rank");
  in.refuse_as(part);
  EXPECT_EQ(in.error(), "lora_config.rank: must be an integer of 64 bits, not \"many\"");
}

TEST(JsonFieldsTest, WhatIsNoObjectIsRefusedAndReadsAsEmpty) {
  for (const char* body : {"[1]", "7", "\"x\"", "null", "{", "{\"a\":}", "\xff", "{} {}"}) {
    JsonFields in{std::string_view(body)};
    EXPECT_FALSE(in.ok()) << body;
    EXPECT_EQ(in.optional_string("a"), std::nullopt);
  }
  EXPECT_TRUE(JsonFields(std::string_view()).ok());
}

TEST(JsonFieldsTest, DeepNestingIsRefused) {
  const auto error = [](std::size_t levels) {
    const std::string nested = std::string(levels - 1, '[') + std::string(levels - 1, ']');
    return JsonFields(std::string_view("{\"a\":" + nested + "}")).error();
  };
  EXPECT_EQ(error(64), "");
  EXPECT_EQ(error(65), "the body is nested deeper than 64 levels");
  EXPECT_EQ(error(1'000'000), "the body is nested deeper than 64 levels");
  EXPECT_FALSE(JsonFields(std::string_view("{\"a\":" + std::string(1'000'000, '['))).ok());
}

TEST(JsonFieldsTest, BracketsInTextsAreNoNesting) {
  const std::string brackets(100, '[');
  JsonFields in(R"({"a":"\"\\)" + brackets + R"(","b":")" + brackets + "\"}");
  EXPECT_EQ(in.string("b"), brackets) << in.error();
}

TEST(JsonFieldsTest, TextThatIsNotUtf8CanBeDumped) {
  EXPECT_EQ(dump(std::string("a\xff")), "\"a\xEF\xBF\xBD\"");
}

TEST(LateReplyTest, FailureIsAnsweredWith500) {
  Reply reply;
  const Responder respond = [&](Reply given) { reply = std::move(given); };
  respond_with(respond, [] { return error_reply(404, "no"); });
  EXPECT_EQ(reply.status, 404);
  respond_with(respond, []() -> Reply { throw std::bad_alloc(); });
  EXPECT_EQ(reply.status, 500);
  EXPECT_THAT(reply.body, HasSubstr("bad_alloc"));
  respond_with(respond, []() -> Reply { throw 7; });
  EXPECT_EQ(reply.body, R"({"detail":"internal error"})");
}

}  // namespace
}  // namespace tinkex::torch_ext::local
