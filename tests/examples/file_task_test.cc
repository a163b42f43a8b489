#include "examples/support/file_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace sft {
namespace {

using ::testing::HasSubstr;

std::vector<Example> pairs(int count, std::size_t prompt_size = 4) {
  std::vector<Example> examples;
  for (int i = 0; i < count; ++i) {
    std::string prompt = std::to_string(i);
    prompt.resize(std::max(prompt.size(), prompt_size), '.');
    examples.push_back({.parts = {{prompt, false}, {"answer " + std::to_string(i), true}}});
  }
  return examples;
}

/// Two bytes a token, with nothing before a text.
class PairTokenizer final : public tinkex::Tokenizer {
 public:
  std::vector<std::int64_t> encode(std::string_view text) const override {
    return std::vector<std::int64_t>((text.size() + 1) / 2, 7);
  }
  std::string decode(std::span<const std::int64_t> /*tokens*/) const override { return ""; }
  std::vector<std::int64_t> begin_of_text() const override { return {}; }
  std::int64_t eos_token() const override { return 1; }
  std::int64_t vocab_size() const override { return 8; }
};

std::string name_of(const Example& example) { return example.parts.back().text; }

TEST(FileTaskTest, EveryEpochShowsEveryExampleOnce) {
  const auto task = file_task("f", pairs(9), 1);
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    std::map<std::string, int> seen;
    for (std::int64_t step = 0; step < 3; ++step) {
      for (const Example& e : task->batch(3 * epoch + step, 3)) ++seen[name_of(e)];
    }
    EXPECT_EQ(seen.size(), 9u);
    for (const auto& [name, count] : seen) EXPECT_EQ(count, 1) << name;
  }
}

TEST(FileTaskTest, BatchesAreWindowsOfOneOrderWhateverTheirSize) {
  const auto task = file_task("f", pairs(7), 3);
  std::vector<std::string> by_four;
  std::vector<std::string> by_ten;
  for (std::int64_t step = 0; step < 5; ++step) {
    for (const Example& e : task->batch(step, 4)) by_four.push_back(name_of(e));
  }
  for (std::int64_t step = 0; step < 2; ++step) {
    for (const Example& e : task->batch(step, 10)) by_ten.push_back(name_of(e));
  }
  EXPECT_EQ(by_four, by_ten);
}

TEST(FileTaskTest, ATenthIsHeldOutAndNeverTrainedOn) {
  const auto task = file_task("f", pairs(50), 1);
  ASSERT_EQ(task->prompts().size(), 5u);
  std::set<std::string> trained;
  for (const Example& e : task->batch(0, 45)) trained.insert(name_of(e));
  EXPECT_EQ(trained.size(), 45u);
  for (const Prompt& prompt : task->prompts()) EXPECT_EQ(trained.count(*prompt.expected), 0u);
  EXPECT_THAT(task->description(), HasSubstr("45 examples to learn from, 5 held out"));
}

TEST(FileTaskTest, TheDigestTellsExamplesApart) {
  const auto digest = [](std::vector<Example> examples) {
    return file_task("f", std::move(examples), 1)->digest();
  };
  EXPECT_EQ(digest(pairs(20)), file_task("g", pairs(20), 2)->digest());
  EXPECT_NE(digest(pairs(20)), digest(pairs(21)));
  std::vector<Example> other = pairs(20);
  other[7].parts[1].text += ".";
  EXPECT_NE(digest(pairs(20)), digest(other));
  other = pairs(20);
  other[7].parts[0].trained = true;
  EXPECT_NE(digest(pairs(20)), digest(other));
}

TEST(FileTaskTest, AFewExamplesAreAllTrainedOnAndAskedFor) {
  const auto task = file_task("f", pairs(3), 1);
  EXPECT_EQ(task->prompts().size(), 3u);
  EXPECT_THAT(task->description(), HasSubstr("too few to hold any out"));
}

TEST(FileTaskTest, PlainTextIsAskedForByItsBeginning) {
  const std::string text(100, 'x');
  const auto task = file_task("f", {{.parts = {{text, true}}, .ended = false}}, 1);
  ASSERT_EQ(task->prompts().size(), 1u);
  EXPECT_EQ(task->prompts()[0].text, std::string(32, 'x'));
  EXPECT_FALSE(task->prompts()[0].expected.has_value());
}

TEST(FileTaskTest, WhatFitsIsLeftAlone) {
  const auto task = file_task("f", pairs(3), 1);
  // Beginning of text, 4 of prompt, 8 of answer, end of text; the last is not read.
  EXPECT_EQ(task->fit(tinkex::ByteTokenizer(), 13).value(), "");
  EXPECT_EQ(name_of(task->batch(0, 1)[0]).size(), 8u);
}

TEST(FileTaskTest, WhatIsTooLongIsCutAndSaidSo) {
  const auto task = file_task("f", pairs(3), 1);
  EXPECT_THAT(task->fit(tinkex::ByteTokenizer(), 12).value(),
              HasSubstr("3 examples are longer than the 12 tokens"));
  const Example cut = task->batch(0, 1)[0];
  EXPECT_EQ(cut.parts.back().text.size(), 8u);
  EXPECT_FALSE(cut.ended);  // Its end-of-text token is gone, not its last byte.
}

TEST(FileTaskTest, LengthsAreCountedInTokens) {
  const auto task = file_task("f", pairs(3), 1);
  // Two tokens of prompt, four of answer, end of text; the last is not read.
  EXPECT_EQ(task->fit(PairTokenizer(), 6).value(), "");
  EXPECT_EQ(task->answer_tokens(), 3);  // No more than half of what is read.
  EXPECT_THAT(task->fit(PairTokenizer(), 4).value(), HasSubstr("3 examples are longer"));
  EXPECT_EQ(task->batch(0, 1)[0].parts.back().text.size(), 6u);
}

TEST(FileTaskTest, TextIsCutBetweenCharacters) {
  const std::string text = "ab\u00e9\u00e9\u00e9";
  for (const std::int64_t context : {2, 3, 4, 5}) {
    const auto task = file_task("f", {{.parts = {{text, true}}, .ended = false}}, 1);
    EXPECT_THAT(task->fit(tinkex::ByteTokenizer(), context).value(), HasSubstr("1 example"));
    EXPECT_EQ(task->batch(0, 1)[0].parts[0].text, text.substr(0, context < 4 ? 2 : 4)) << context;
  }
}

TEST(FileTaskTest, ExamplesWithNothingLeftToLearnAreDropped) {
  std::vector<Example> examples = pairs(2, 100);
  examples.push_back(pairs(1).front());
  const auto task = file_task("f", examples, 1);
  EXPECT_EQ(
      task->fit(tinkex::ByteTokenizer(), 50).value(),
      "2 examples are longer than the 50 tokens that the model reads: 2 left out, the prompt "
      "alone filling them; 2 prompts left out, without room for an answer in the 50 tokens that "
      "the model reads; 1 left to sample");
  EXPECT_THAT(task->description(), HasSubstr("1 example to learn from"));
  for (const Example& e : task->batch(0, 4)) EXPECT_EQ(name_of(e), "answer 0");
}

TEST(FileTaskTest, HeldOutPromptsThatDoNotFitAreCounted) {
  std::vector<Example> examples = pairs(40);
  for (Example& example : examples) example.parts[0].text.resize(30, '.');
  const auto task = file_task("f", examples, 1);
  ASSERT_EQ(task->prompts().size(), 4u);
  // All of the prompt is read, and a part of the answer, but there is no room for all of one.
  EXPECT_EQ(
      task->fit(tinkex::ByteTokenizer(), 35).value(),
      "36 examples are longer than the 35 tokens that the model reads: 36 cut; 4 prompts left "
      "out, without room for an answer in the 35 tokens that the model reads; none is left, so "
      "nothing is sampled before and after");
  EXPECT_TRUE(task->prompts().empty());
}

TEST(FileTaskTest, AnEmptyRestIsAnError) {
  const auto task = file_task("f", pairs(3, 100), 1);
  const auto fitted = task->fit(tinkex::ByteTokenizer(), 50);
  ASSERT_FALSE(fitted.ok());
  EXPECT_EQ(fitted.error().code(), tinkex::ErrorCode::kInvalidArgument);
  EXPECT_THAT(fitted.error().message(), HasSubstr("50 tokens"));
}

}  // namespace
}  // namespace sft
