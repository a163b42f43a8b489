#include "tinkex/base/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace tinkex::internal {
namespace {

TEST(TextTest, OnlyWellFormedUtf8Passes) {
  for (const char* good : {"", "abc", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(is_utf8(good)) << quoted(good);
  }
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "a\xff", "\xe2\x82", "\xe2\x28\xa1"}) {
    EXPECT_FALSE(is_utf8(bad)) << quoted(bad);
  }
}

TEST(TextTest, KeepsReadableTextAsItIs) {
  EXPECT_EQ(printable("naïve — 日本 🎉", 100), "naïve — 日本 🎉");
  EXPECT_EQ(printable("", 10), "");
  EXPECT_EQ(quoted("a b"), "'a b'");
}

TEST(TextTest, ControlCharactersCannotReachATerminal) {
  EXPECT_EQ(printable("a\nb\tc\x1b[2Jd\x7f"
                      "e",
                      100),
            "a b c [2Jd e");
  EXPECT_EQ(printable(std::string_view("a\0b", 3), 100), "a b");
  EXPECT_EQ(printable("a\xc2\x9b"
                      "2J",
                      100),
            "a??2J")
      << "the C1 form of an escape sequence";
}

TEST(TextTest, BytesThatAreNotUtf8BecomeQuestionMarks) {
  EXPECT_EQ(printable("\xff\xfe", 100), "??");
  EXPECT_EQ(printable("\xc3", 100), "?") << "cut short";
  EXPECT_EQ(printable("\xe0\x80\x80", 100), "???") << "longer than need be";
  EXPECT_EQ(printable("\xed\xa0\x80", 100), "???") << "half of a surrogate pair";
  EXPECT_EQ(printable("\xf4\x90\x80\x80", 100), "????") << "beyond Unicode";
  EXPECT_EQ(printable("\xc0\xaf", 100), "??");
}

TEST(TextTest, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(printable("abcdef", 6), "abcdef");
  EXPECT_EQ(printable("abcdefg", 6), "abcdef...");
  EXPECT_EQ(printable("日本語", 7), "日本...");
}

TEST(TextTest, NumbersAreShort) {
  EXPECT_EQ(number_text(0.1), "0.1");
  EXPECT_EQ(number_text(-5), "-5");
  EXPECT_EQ(number_text(1e-12), "1e-12");
  EXPECT_EQ(number_text(std::nan("")), "nan");
  EXPECT_EQ(number_text(HUGE_VAL), "inf");
}

TEST(TextTest, OnlyAsciiLettersHaveACase) {
  EXPECT_EQ(lower_case("Content-TYPE [\xc3\x84]"), "content-type [\xc3\x84]");
  EXPECT_TRUE(equals_ignoring_case("Retry-After", "retry-AFTER"));
  EXPECT_FALSE(equals_ignoring_case("user", "users"));
  EXPECT_FALSE(equals_ignoring_case("@", "`"));
}

}  // namespace
}  // namespace tinkex::internal
