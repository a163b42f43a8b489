#include "examples/support/pig_latin.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "examples/support/dice.h"

namespace sft {
namespace {

TEST(PigLatinTest, ConsonantsBeforeTheFirstVowelMoveToTheEnd) {
  EXPECT_EQ(pig_latin("string"), "ingstray");
  EXPECT_EQ(pig_latin("bus"), "usbay");
  EXPECT_EQ(pig_latin("queen"), "ueenqay");
}

TEST(PigLatinTest, WordsThatBeginWithAVowelGetWay) {
  EXPECT_EQ(pig_latin("apple"), "appleway");
  EXPECT_EQ(pig_latin("eye"), "eyeway");
}

TEST(PigLatinTest, YIsAVowelAfterTheFirstLetter) {
  EXPECT_EQ(pig_latin("yellow"), "ellowyay");
  EXPECT_EQ(pig_latin("try"), "ytray");
}

TEST(PigLatinTest, AWordWithoutVowelsKeepsItsLetters) { EXPECT_EQ(pig_latin("hmm"), "hmmay"); }

TEST(PigLatinTest, HeldOutWordsAreSixtyFourDifferentOnes) {
  const std::vector<std::string>& words = held_out_words();
  EXPECT_EQ(words.size(), 64u);
  EXPECT_EQ(std::set<std::string>(words.begin(), words.end()).size(), 64u);
}

TEST(PigLatinTest, MadeUpWordsAreNeverHeldOut) {
  const std::set<std::string> held(held_out_words().begin(), held_out_words().end());
  Dice dice(7, 0);
  std::set<std::string> seen;
  for (int i = 0; i < 20'000; ++i) {
    const std::string word = made_up_word(dice);
    ASSERT_GE(word.size(), 3u);
    ASSERT_LE(word.size(), 9u);
    ASSERT_EQ(held.count(word), 0u) << word;
    seen.insert(word);
  }
  EXPECT_GT(seen.size(), 10'000u);
}

TEST(PigLatinTaskTest, BatchDependsOnSeedAndStepAlone) {
  const auto words = [](std::int64_t seed, std::int64_t step) {
    std::string all;
    for (const Example& example : pig_latin_task(seed)->batch(step, 8)) {
      all += example.parts.front().text;
    }
    return all;
  };
  EXPECT_EQ(words(1, 5), words(1, 5));
  EXPECT_NE(words(1, 5), words(1, 6));
  EXPECT_NE(words(1, 5), words(2, 5));
}

TEST(PigLatinTaskTest, AsksForTheHeldOutWordsAndTrainsOnTheTranslation) {
  const auto task = pig_latin_task(1);
  ASSERT_EQ(task->prompts().size(), 64u);
  EXPECT_EQ(task->prompts().front().text, "string>");
  EXPECT_EQ(task->prompts().front().expected, "ingstray");
  for (const Prompt& prompt : task->prompts()) {
    EXPECT_LT(prompt.expected->size(), static_cast<std::size_t>(task->answer_tokens()));
  }
  const Example example = task->batch(0, 1).front();
  ASSERT_EQ(example.parts.size(), 2u);
  EXPECT_FALSE(example.parts[0].trained);
  EXPECT_TRUE(example.parts[1].trained);
  const std::string word = example.parts[0].text.substr(0, example.parts[0].text.size() - 1);
  EXPECT_EQ(example.parts[1].text, pig_latin(word));
}

TEST(PigLatinTaskTest, AModelThatReadsTooLittleIsRefused) {
  EXPECT_TRUE(pig_latin_task(1)->fit(tinkex::ByteTokenizer(), 256).ok());
  const auto refused = pig_latin_task(1)->fit(tinkex::ByteTokenizer(), 8);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find("only 8 tokens"), std::string::npos);
}

}  // namespace
}  // namespace sft
