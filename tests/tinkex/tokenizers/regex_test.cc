#include "tinkex/tokenizers/regex.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tinkex/tokenizers/regex_translation.h"

namespace tinkex::tokenizers {
namespace {

/// The first match of a pattern in a text, "none" or "gave up"; or why the pattern is refused.
std::string match(std::string_view pattern, std::string_view text) {
  const Result<Regex> regex = Regex::from_file_pattern(pattern);
  if (!regex) return regex.error().message();
  RegexScratch scratch;
  scratch.allow(text.size());
  Regex::Match found;
  switch (regex->find(text, 0, scratch, found)) {
    case Regex::Outcome::kNone: return "none";
    case Regex::Outcome::kGaveUp: return "gave up";
    case Regex::Outcome::kMatch: break;
  }
  return std::string(text.substr(found.begin, found.end - found.begin));
}

TEST(RegexTest, WhatTokenizerFilesUseMatches) {
  EXPECT_EQ(match(R"(\p{N}{1,3})", "a12345"), "123");
  EXPECT_EQ(match(R"(\s+(?!\S))", "a   b"), "  ");
  EXPECT_EQ(match(R"((?i:'s|'re))", "THEY'RE"), "'RE");
  EXPECT_EQ(match(R"([^\r\n\p{L}\p{N}]?\p{L}+)", "\n.wörter!"), ".wörter");
  EXPECT_EQ(match(R"([\p{Lu}\p{Lt}]*[\p{Ll}\p{M}]+)", "ABc\u0301D"), "ABc\u0301");
  EXPECT_EQ(match(R"([一-龥぀-ゟ]+)", "a漢字かなb"), "漢字かな");
  EXPECT_EQ(match(R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+)", "x-[y"), "[y");
  EXPECT_EQ(match(R"((?<=a)b++|c*?d{2,3}|(e))", "cddddab"), "cddd");
  EXPECT_EQ(match(R"(\u4e2d\x{6587}\x21)", "中文!"), "中文!");
  EXPECT_EQ(match(R"(\p{Han}+)", "a漢字"), "漢字");
  EXPECT_EQ(match(R"([a-c-]+)", "xa-c"), "a-c");
  EXPECT_EQ(match(R"([-a]+)", "xa-"), "a-");
  EXPECT_EQ(match(".+", "\na\rb\n"), "a\rb");
  EXPECT_EQ(match(R"([\s\S])", "\n"), "\n");
}

TEST(RegexTest, ClassesAreThoseOfTheTokenizers) {
  EXPECT_EQ(match(R"(\s)", "\u180e"), "none");  // White space up to Unicode 6.2, and to PCRE2.
  EXPECT_EQ(match(R"(\S)", "\u180e"), "\u180e");
  EXPECT_EQ(match(R"(\s)", "\u0085"), "\u0085");
  EXPECT_EQ(match(R"(\w)", "\u00b2"), "\u00b2");
  EXPECT_EQ(match(R"(\W)", "a\u203f!"), "!");
  EXPECT_EQ(match(R"(\d)", "\u0663"), "\u0663");
  EXPECT_EQ(match(R"(\D)", "7\u00b2"), "\u00b2");
  EXPECT_EQ(match(R"(\p{L})", "\U00031350"), "\U00031350");  // From Unicode 15.
  EXPECT_EQ(match(R"(\P{L})", "\U00031350"), "none");
  EXPECT_EQ(match(R"(\p{N})", "\U0001ccf0"), "\U0001ccf0");  // From Unicode 16.
  EXPECT_EQ(match(R"([^\s\p{L}\p{N}])", "a\U000105c0\U00010d40."), ".");
}

TEST(RegexTest, WhatMeansSomethingElseInPcreIsRefusedByName) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"^a", "at byte 0: the anchor ^"},
      {"a$", "at byte 1: the anchor $"},
      {R"(a\b)", "at byte 2: this escape"},
      {R"(\h)", "at byte 1: this escape"},
      {R"(\1)", "at byte 1: this escape"},
      {R"(\G)", "this escape"},
      {R"(\)", "a backslash at the end"},
      {R"([a[bc]])", "a class inside of a class"},
      {R"([a&&b])", "a class inside of a class"},
      {R"([[:alpha:]])", "a class inside of a class"},
      {R"([\D])", "the opposite of a class inside of a class"},
      {"[]a]", "an empty class"},
      {"[a", "a class without an end"},
      {"[a-", "a range that ends with a class"},
      {R"([a-\s])", "a range that ends with a class"},
      {"[a-b-c]", "a range after a range"},
      {"[--a]", "- inside of a class"},
      {"(?i)a", "a group that begins like this"},
      {"(?<name>a)", "a group that begins like this"},
      {"(?m:a)", "a group that begins like this"},
      {"(a", "a group without an end"},
      {"a)", "a parenthesis without a beginning"},
      {"a{2}?", "{n}?"},
      {"a{2,3}+", "{n,m}+"},
      {"a{,3}", "a brace that is no repetition"},
      {"a**", "a repetition of nothing"},
      {"+a", "a repetition of nothing"},
      {"(?=a)*", "a repetition of nothing"},
      {R"(\p{Alphabetic})", "the property 'Alphabetic'"},
      {R"(\p{^L})", "the property '^L'"},
      {R"(\p{Mn})", "the property 'Mn'"},
      {R"(\pL)", "a property without braces"},
      {R"(\xff)", "this number of a character"},
      {R"(\x{110000})", "this number of a character"},
      {R"(\ud800)", "this number of a character"},
      {"(?i:ß)", "a character beyond ASCII where case is ignored"},
      {"(?i:fi)", "ff, fi, fl, ss and st where case is ignored"},
      {R"((?i:\p{Lu}))", "\\p{Lx} where case is ignored"},
      {"a{9999}{9999}", "a repetition of nothing"},
  };
  for (const auto& [pattern, reason] : cases) {
    const Result<Regex> regex = Regex::from_file_pattern(pattern);
    ASSERT_FALSE(regex.ok()) << pattern;
    EXPECT_EQ(regex.error().code(), ErrorCode::kIo);
    EXPECT_TRUE(regex.error().message().find(reason) != std::string::npos)
        << pattern << ": " << regex.error().message();
  }
}

TEST(RegexTest, HostilePatternsAreRefusedOrGiveUp) {
  EXPECT_EQ(match("(?:a+)+[bc]", std::string(40, 'a') + "d"), "gave up");
  EXPECT_EQ(match("(?:a|a|a|a)*[bc]", std::string(60, 'a') + "d"), "gave up");
  EXPECT_FALSE(Regex::from_file_pattern(std::string(200, '(') + std::string(200, ')')).ok());
  EXPECT_FALSE(Regex::from_file_pattern(std::string(20'000, 'a')).ok());
  EXPECT_FALSE(Regex::from_file_pattern("(?:(?:(?:a{9999}){9999}){9999}){9999}").ok());
  EXPECT_FALSE(Regex::from_file_pattern("\xff").ok());
}

TEST(RegexTest, LongRunsAreNoReasonToGiveUp) {
  const std::string spaces(1'000'000, ' ');
  EXPECT_EQ(match(R"(\s*[\r\n]+|\s+(?!\S)|\s+)", spaces + "a").size(), spaces.size() - 1);
  EXPECT_EQ(match(R"(\p{L}+)", std::string(1'000'000, 'a')).size(), 1'000'000u);
}

TEST(RegexTest, ALiteralMatchesItself) {
  const std::string text = "a.*[é]\\d字";
  const Result<Regex> regex = Regex::from_literal(text);
  ASSERT_TRUE(regex.ok());
  RegexScratch scratch;
  scratch.allow(text.size());
  Regex::Match found;
  ASSERT_EQ(regex->find("xx" + text, 0, scratch, found), Regex::Outcome::kMatch);
  EXPECT_EQ(found.begin, 2u);
  EXPECT_EQ(found.end, 2 + text.size());
}

}  // namespace
}  // namespace tinkex::tokenizers
