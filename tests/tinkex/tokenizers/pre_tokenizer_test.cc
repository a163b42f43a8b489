#include "tinkex/tokenizers/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace tinkex::tokenizers {
namespace {

using Words = std::vector<std::string>;

Words split(const PreTokenizer& pre_tokenizer, std::string_view text) {
  RegexScratch scratch;
  Words words;
  EXPECT_TRUE(pre_tokenizer.split(text, scratch,
                                  [&words](std::string_view word) { words.emplace_back(word); }));
  return words;
}

Words split_as(std::string_view family, std::string_view text) {
  const Result<PreTokenizer> pre_tokenizer = PreTokenizer::named(family);
  EXPECT_TRUE(pre_tokenizer.ok()) << family;
  return pre_tokenizer.ok() ? split(*pre_tokenizer, text) : Words();
}

/// With one step whose pattern is a hyphen.
Words split_at_hyphens(SplitBehavior behavior, bool invert = false,
                       std::string_view text = "the-final--countdown") {
  Result<Regex> regex = Regex::from_literal("-");
  EXPECT_TRUE(regex.ok());
  return split(PreTokenizer({SplitStep{*std::move(regex), behavior, invert}}), text);
}

TEST(PreTokenizerTest, TheFamiliesCutDigitsAndContractionsTheirOwnWay) {
  EXPECT_EQ(split_as("gpt-2", "It's 12345!\n\n x"),
            (Words{"It", "'s", " 12345", "!", "\n\n", " x"}));
  EXPECT_EQ(split_as("smollm", "It's 123"), (Words{"It", "'s", " ", "1", "2", "3"}));
  EXPECT_EQ(split_as("llama-bpe", "IT'S 12345!\n\n x"),
            (Words{"IT", "'S", " ", "123", "45", "!\n\n", " x"}));
  EXPECT_EQ(split_as("qwen2", "IT'S 123"), (Words{"IT", "'S", " ", "1", "2", "3"}));
}

TEST(PreTokenizerTest, OtherNamesOfAFamilyMeanTheSame) {
  EXPECT_EQ(split_as("llama3", "a1234"), split_as("llama-bpe", "a1234"));
  EXPECT_EQ(split_as("llama-v3", "a1234"), split_as("llama-bpe", "a1234"));
  EXPECT_EQ(split_as("starcoder", "a1234"), split_as("smollm", "a1234"));
  EXPECT_EQ(split_as("deepseek-r1-qwen", "a1234"), split_as("qwen2", "a1234"));
}

TEST(PreTokenizerTest, AnUnknownFamilyIsRefusedByName) {
  const Result<PreTokenizer> pre_tokenizer = PreTokenizer::named("viking");
  ASSERT_FALSE(pre_tokenizer.ok());
  EXPECT_EQ(pre_tokenizer.error().code(), ErrorCode::kIo);
  EXPECT_NE(pre_tokenizer.error().message().find("'viking' is not supported"), std::string::npos);
}

TEST(PreTokenizerTest, NothingHasNoWords) { EXPECT_EQ(split_as("gpt-2", ""), Words{}); }

// The examples of Hugging Face's documentation of SplitDelimiterBehavior.
TEST(PreTokenizerTest, MatchesGoWhereTheBehaviorPutsThem) {
  EXPECT_EQ(split_at_hyphens(SplitBehavior::kRemoved), (Words{"the", "final", "countdown"}));
  EXPECT_EQ(split_at_hyphens(SplitBehavior::kIsolated),
            (Words{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(split_at_hyphens(SplitBehavior::kMergedWithPrevious),
            (Words{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(split_at_hyphens(SplitBehavior::kMergedWithNext),
            (Words{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(split_at_hyphens(SplitBehavior::kContiguous),
            (Words{"the", "-", "final", "--", "countdown"}));
}

TEST(PreTokenizerTest, InvertSwapsMatchesAndTheRest) {
  EXPECT_EQ(split_at_hyphens(SplitBehavior::kRemoved, true), (Words{"-", "-", "-"}));
  EXPECT_EQ(split_at_hyphens(SplitBehavior::kIsolated, true),
            split_at_hyphens(SplitBehavior::kIsolated));
  EXPECT_EQ(split_at_hyphens(SplitBehavior::kMergedWithPrevious, true),
            (Words{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(split_at_hyphens(SplitBehavior::kMergedWithNext, true),
            (Words{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(split_at_hyphens(SplitBehavior::kRemoved, false, "--"), Words{});
}

TEST(PreTokenizerTest, DigitsStandAloneOrTogether) {
  Result<SplitStep> together = digits_split(/*individual=*/false);
  ASSERT_TRUE(together.ok());
  EXPECT_EQ(split(PreTokenizer({*std::move(together)}), "a123 \u0664\u0665½b"),
            (Words{"a", "123", " ", "\u0664\u0665½", "b"}));
  Result<SplitStep> alone = digits_split(/*individual=*/true);
  ASSERT_TRUE(alone.ok());
  EXPECT_EQ(split(PreTokenizer({*std::move(alone)}), "a12"), (Words{"a", "1", "2"}));
}

TEST(PreTokenizerTest, APrefixSpaceIsAddedWhereThereIsNone) {
  Result<SplitStep> words = gpt2_split();
  ASSERT_TRUE(words.ok());
  const PreTokenizer pre_tokenizer({PrefixSpaceStep{}, *std::move(words)});
  EXPECT_EQ(split(pre_tokenizer, "a b"), (Words{" a", " b"}));
  EXPECT_EQ(split(pre_tokenizer, " a"), Words{" a"});
  EXPECT_EQ(split(pre_tokenizer, "\ta"), (Words{" ", "\t", "a"}));
}

TEST(PreTokenizerTest, EmptyMatchesCutBetweenCharacters) {
  Result<Regex> regex = Regex::from_file_pattern("b*");
  ASSERT_TRUE(regex.ok());
  const PreTokenizer pre_tokenizer({SplitStep{*std::move(regex), SplitBehavior::kIsolated, false}});
  EXPECT_EQ(split(pre_tokenizer, "aébbc"), (Words{"a", "é", "bb", "c"}));
}

bool splits(std::string_view pattern, SplitBehavior behavior, std::string_view text) {
  const PreTokenizer pre_tokenizer({SplitStep{file_regex(pattern).value(), behavior, false}});
  RegexScratch scratch;
  return pre_tokenizer.split(text, scratch, [](std::string_view) {});
}

TEST(PreTokenizerTest, AHostilePatternEndsTheSplit) {
  const std::string text(60, 'a');
  EXPECT_FALSE(splits("(?:a+)+[bc]", SplitBehavior::kIsolated, text));
  EXPECT_FALSE(splits("(?:a+)+[bc]", SplitBehavior::kContiguous, text));
}

// Each goes through the rest of the text, from each of its places.
TEST(PreTokenizerTest, APatternThatTakesTheSquareOfTheTextEndsTheSplit) {
  const std::string text(50'000, 'a');
  for (const char* pattern : {"(?:a|b)+[cd]", "a+[cd]", "a++[cd]", "(?>a+)[cd]", "(?=a+)[cd]",
                              "(?:(?=a+)a)+", "(?:a++b|a)+", "a(?=a*)", "a(?=a+b)|a"}) {
    EXPECT_FALSE(splits(pattern, SplitBehavior::kIsolated, text)) << pattern;
  }
}

TEST(PreTokenizerTest, PatternsThatTakeTheirTimeDoNotEndTheSplit) {
  std::string text(1'000'000, ' ');
  for (int i = 0; i < 100'000; ++i) text += i % 7 == 0 ? "\r\n" : "It's 12 café!";
  for (const char* pattern : {R"(\s*[
]+|\s+(?!\S)|\s+|\S)",
                              R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[
]*)",
                              R"((?:\w|')+?\s)", R"((?i:'s|'t)|[\p{Lu}\p{M}]*[\p{Ll}\p{M}]+|.)"}) {
    EXPECT_TRUE(splits(pattern, SplitBehavior::kIsolated, text)) << pattern;
  }
}

}  // namespace
}  // namespace tinkex::tokenizers
