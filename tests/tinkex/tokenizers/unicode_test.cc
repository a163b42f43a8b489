#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tinkex/tokenizers/byte_alphabet.h"
#include "tinkex/tokenizers/nfc.h"
#include "tinkex/tokenizers/utf8.h"

namespace tinkex::tokenizers {
namespace {

// As Python's bytes.decode("utf-8", "replace") gives it.
const std::vector<std::pair<std::string, std::string>> kLossy = {
    {"", ""},
    {"plain \xc3\xa9", "plain \xc3\xa9"},
    {"\x80", "\xef\xbf\xbd"},
    {"a\xc3", "a\xef\xbf\xbd"},
    {"\xc3(", "\xef\xbf\xbd("},
    {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
    {"\xe2\x82", "\xef\xbf\xbd"},
    {"\xe2\x82z", "\xef\xbf\xbdz"},
    {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"\xf0\x9f\x98", "\xef\xbf\xbd"},
    {"\xf0\x9f\x98\xf0\x9f\x98\x80", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
    {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd"},
};

TEST(Utf8Test, EachMaximalPartBecomesOneReplacement) {
  for (const auto& [bytes, text] : kLossy) EXPECT_EQ(lossy_utf8(bytes), text);
}

TEST(Utf8Test, AnIncompleteTailIsOneThatMayGrowIntoACharacter) {
  EXPECT_EQ(incomplete_tail(""), 0u);
  EXPECT_EQ(incomplete_tail("a"), 0u);
  EXPECT_EQ(incomplete_tail("\xc3\xa9"), 0u);
  EXPECT_EQ(incomplete_tail("a\xc3"), 1u);
  EXPECT_EQ(incomplete_tail("\xe2\x82"), 2u);
  EXPECT_EQ(incomplete_tail("\xf0\x9f\x98"), 3u);
  EXPECT_EQ(incomplete_tail("\xe0\x80"), 0u);  // overlong
  EXPECT_EQ(incomplete_tail("\xed\xa0"), 0u);  // a surrogate
  EXPECT_EQ(incomplete_tail("\x80\x80\x80\x80"), 0u);
  EXPECT_EQ(incomplete_tail("\xff"), 0u);
}

TEST(Utf8Test, EveryCodePointIsWrittenAndRead) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    std::string text = "x";
    append_utf8(c, text);
    std::size_t position = 1;
    ASSERT_EQ(next_code_point(text, position), c);
    ASSERT_EQ(position, text.size());
    ASSERT_EQ(previous_position(text, text.size()), 1u);
    ASSERT_EQ(lossy_utf8(text), text);
  }
}

TEST(ByteAlphabetTest, EveryByteHasItsCharacter) {
  EXPECT_EQ(token_of_byte(' '), "\xc4\xa0");
  EXPECT_EQ(token_of_byte('\n'), "\xc4\x8a");
  EXPECT_EQ(token_of_byte('A'), "A");
  EXPECT_EQ(token_of_byte(0xad), "\xc5\x83");
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(bytes_of_token(token_of_bytes(all)), all);
}

TEST(ByteAlphabetTest, OtherCharactersStandForNoByte) {
  for (const char* token : {" ", "a b", "\xc5\x84", "\xe5\xad\x97", "\xff"}) {
    EXPECT_EQ(bytes_of_token(token), std::nullopt) << token;
  }
  EXPECT_EQ(bytes_of_token(""), "");
}

TEST(NfcTest, ComposesAndOrders) {
  EXPECT_EQ(nfc("plain"), "plain");
  EXPECT_EQ(nfc("A\u030a"), "\u00c5");
  EXPECT_EQ(nfc("x A\u030ay e\u0301"), "x \u00c5y \u00e9");
  EXPECT_EQ(nfc("\u212b"), "\u00c5");
  EXPECT_EQ(nfc("a\u0301\u0323"), "\u1ea1\u0301");
  EXPECT_EQ(nfc("\u1100\u1161\u11a8"), "\uac01");
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093c");
  EXPECT_EQ(nfc("\u00e9\u0323"), "\u1eb9\u0301");
  EXPECT_EQ(nfc("\u0301"), "\u0301");
}

TEST(NfcTest, MarksThatAreYoungerThanUnicode9StayWhereTheyAre) {
  EXPECT_EQ(nfc("a\u1dfa\u0323\u0301"), "a\u1dfa\u0323\u0301");
  EXPECT_EQ(nfc("e\u0301\u1abf\u0323"), "\u00e9\u1abf\u0323");
  EXPECT_EQ(nfc("\U00011935\U00011930"), "\U00011935\U00011930");
}

TEST(NfcTest, AHostileRunOfMarksTakesNoQuadraticTime) {
  std::string marks = "a";
  for (int i = 0; i < 200'000; ++i) marks += i % 2 == 0 ? "\u0301" : "\u0323";
  const std::string text = nfc(marks);
  EXPECT_TRUE(text.starts_with("\u1ea1\u0323\u0323"));
  EXPECT_TRUE(text.ends_with("\u0301\u0301"));
}

}  // namespace
}  // namespace tinkex::tokenizers
