#include "torch_ext/training_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace tinkex::torch_ext {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kDialogue[] =
    R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}, )"
    R"({"role": "user", "content": "how?"}, {"role": "assistant", "content": "so"}]})";

ChatTemplate model_template(const std::string& name) {
  std::ifstream file("tests/golden/chat_templates/" + name + ".jinja", std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  EXPECT_FALSE(text.empty()) << name;
  return ChatTemplate::parse(text, "<s>", "</s>").value();
}

/// Trained parts in angle brackets.
std::string shown(const TextExample& example) {
  std::string text;
  for (const TextPart& part : example.parts)
    text += part.trained ? "«" + part.text + "»" : part.text;
  return text;
}

std::string error_of(std::string_view json) {
  const auto read = parse_example(json);
  if (read.ok()) return "no error";
  EXPECT_EQ(read.error().code(), ErrorCode::kInvalidArgument);
  return read.error().message();
}

TEST(ParseExampleTest, ACompletionIsLearnedAndItsPromptIsNot) {
  const auto read = parse_example(R"({"completion": "d", "prompt": "a ", "other": 1})").value();
  EXPECT_EQ(shown(read), "a «d»");
  EXPECT_TRUE(read.ended);
}

TEST(ParseExampleTest, ATextIsLearnedAsAWhole) {
  EXPECT_EQ(shown(parse_example(R"({"text": "to be", "id": "7"})").value()), "«to be»");
}

TEST(ParseExampleTest, MessagesComeBeforeTheOtherForms) {
  const auto read =
      parse_example(R"({"prompt": "a", "text": "b", )" + std::string(kDialogue).substr(1)).value();
  EXPECT_EQ(shown(read), "user: hi\nassistant: «yo»\nuser: how?\nassistant: «so»");
  EXPECT_FALSE(read.dialogue.empty());
}

TEST(ParseExampleTest, AnErrorNamesTheFieldWhatItIsAndWhatItShouldBe) {
  EXPECT_EQ(error_of(R"({"text": 1})"), "field 'text' is a number, expected a string");
  EXPECT_EQ(error_of(R"({"text": null})"), "field 'text' is null, expected a string");
  EXPECT_EQ(error_of(R"({"prompt": "a"})"), "field 'completion' is missing, expected a string");
  EXPECT_EQ(error_of(R"({"completion": "a", "prompt": []})"),
            "field 'prompt' is an array, expected a string");
  EXPECT_EQ(error_of(R"({"messages": "hi"})"),
            "field 'messages' is a string, expected an array of objects");
  EXPECT_EQ(error_of(R"({"messages": [{"role": "user", "content": "a"}, 3]})"),
            R"(field 'messages[1]' is a number, expected {"role": "...", "content": "..."})");
  EXPECT_EQ(error_of(R"({"messages": [{"role": "user", "content": {}}]})"),
            "field 'messages[0].content' is an object, expected a string");
  EXPECT_EQ(error_of(R"({"messages": [{"content": "a"}]})"),
            "field 'messages[0].role' is missing, expected a string");
}

TEST(ParseExampleTest, WhatIsNoObjectOfAKnownFormIsRefused) {
  EXPECT_THAT(error_of("nonsense"), HasSubstr("is not JSON"));
  EXPECT_THAT(error_of(""), HasSubstr("is not JSON"));
  EXPECT_THAT(error_of(R"({"text": "a"} {"text": "b"})"), HasSubstr("is not JSON"));
  EXPECT_THAT(error_of("[1]"), HasSubstr("is an array, expected {\"messages\""));
  EXPECT_THAT(error_of(R"({"txet": "a"})"), HasSubstr("has no field that holds an example"));
  EXPECT_THAT(error_of("{\"text\": \"\xff\"}"), HasSubstr("is not UTF-8"));
  EXPECT_THAT(error_of(R"({"text": "\ud800"})"), HasSubstr("is not JSON"));
  const std::string deep(1'000'000, '[');
  EXPECT_THAT(error_of("{\"text\": \"a\", \"x\": " + deep), HasSubstr("deeper than 64"));
}

TEST(ParseExampleTest, WhereATextCeasesToBeJsonIsSaidAndNothingOfItIsShown) {
  EXPECT_EQ(error_of(R"({"text": secret})"),
            "is not JSON: it makes no sense at byte 10; each line must be one object");
  EXPECT_EQ(error_of(R"({"text": "secret)"),
            "is not JSON: it breaks off after byte 16; each line must be one object");
  EXPECT_EQ(error_of(R"({"text": "a", "x": 1e999})"),
            "is not JSON: a number in it is too large; each line must be one object");
}

TEST(ParseExampleTest, NothingToLearnIsAnError) {
  EXPECT_THAT(error_of(R"({"text": ""})"), HasSubstr("field 'text' is empty: nothing to learn"));
  EXPECT_THAT(error_of(R"({"prompt": "a", "completion": ""})"),
              HasSubstr("field 'completion' is empty"));
  EXPECT_THAT(error_of(R"({"messages": [{"role": "user", "content": "x"}]})"),
              HasSubstr("none of role 'assistant'"));
  EXPECT_THAT(error_of(R"({"messages": [{"role": "assistant", "content": ""}]})"),
              HasSubstr("field 'messages[0].content' is empty"));
}

TEST(WriteDialogueTest, OnlyTheAssistantsTurnsAreLearned) {
  const auto written = write_dialogue(model_template("smollm2"), kDialogue).value();
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(shown(written[0]),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
            "«yo<|im_end|>\n»<|im_start|>user\nhow?<|im_end|>\n<|im_start|>assistant\n"
            "«so<|im_end|>\n»");
  EXPECT_FALSE(written[0].ended);
  EXPECT_TRUE(written[0].begun);
}

TEST(WriteDialogueTest, ATemplateMayHaveNoPromptOfItsOwn) {
  const auto written = write_dialogue(model_template("llama2"), kDialogue).value();
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(shown(written[0]), "<s>[INST] hi [/INST]« yo </s>»<s>[INST] how? [/INST]« so </s>»");
}

TEST(WriteDialogueTest, ATurnThatChangesEarlierOnesBeginsAnotherExample) {
  const auto written = write_dialogue(model_template("qwen3"), kDialogue).value();
  ASSERT_EQ(written.size(), 2u);
  EXPECT_EQ(shown(written[0]),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
            "«<think>\n\n</think>\n\nyo<|im_end|>\n»");
  EXPECT_EQ(shown(written[1]),
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n"
            "<|im_start|>user\nhow?<|im_end|>\n<|im_start|>assistant\n"
            "«<think>\n\n</think>\n\nso<|im_end|>\n»");
}

TEST(WriteDialogueTest, TheDateIsTheSameEveryDay) {
  const auto written = write_dialogue(model_template("llama3.2"), kDialogue).value();
  EXPECT_THAT(shown(written[0]), AllOf(HasSubstr("Today Date: 26 Jul 2024"),
                                       HasSubstr("assistant<|end_header_id|>\n\n«yo<|eot_id|>»")));
}

TEST(WriteDialogueTest, ToolsOfTheLineAreWritten) {
  const auto written =
      write_dialogue(model_template("qwen2.5"),
                     R"({"tools": [{"name": "f"}], "messages": [{"role": "user", "content": "a"},)"
                     R"({"role": "assistant", "content": "b"}]})");
  EXPECT_THAT(shown(written->front()), HasSubstr("<tools>\n{\"name\": \"f\"}\n</tools>"));
}

TEST(WriteDialogueTest, ATurnThatIsWrittenElsewhereIsAnError) {
  const auto chat = ChatTemplate::parse(
      "{% for m in messages|reverse %}{{ m.role }}{{ m.content }}{% endfor %}", "", "");
  EXPECT_THAT(write_dialogue(*chat, kDialogue).error().message(),
              HasSubstr("does not write an assistant's turn after"));
}

TEST(WriteDialogueTest, WhatIsNoDialogueIsAnError) {
  const ChatTemplate chat = model_template("smollm2");
  EXPECT_THAT(write_dialogue(chat, "nonsense").error().message(), HasSubstr("is not JSON"));
  EXPECT_THAT(write_dialogue(chat, R"({"text": "a"})").error().message(),
              HasSubstr("field 'messages' is missing"));
  EXPECT_THAT(write_dialogue(chat, R"({"messages": [1]})").error().message(),
              HasSubstr("field 'messages[0]' is a number"));
}

/// Bytes, with nothing that begins or ends a text.
class BareTokenizer final : public Tokenizer {
 public:
  std::vector<std::int64_t> encode(std::string_view text) const override {
    return ByteTokenizer().encode(text);
  }
  std::string decode(std::span<const std::int64_t> /*tokens*/) const override { return ""; }
  std::int64_t eos_token() const override { return -1; }
  std::int64_t vocab_size() const override { return 256; }
};

TEST(TokenizeTest, OnlyTrainedPartsAndTheirEndsHaveWeights) {
  const auto text = tokenize({.parts = {{"ab", false}, {"c", true}}}, ByteTokenizer()).value();
  EXPECT_THAT(text.tokens,
              ElementsAre(ByteTokenizer::kBeginOfText, 'a', 'b', 'c', ByteTokenizer::kEndOfText));
  EXPECT_THAT(text.weights, ElementsAre(0, 0, 0, 1, 1));
}

TEST(TokenizeTest, NothingIsPutAroundATextThatBringsItsOwn) {
  const auto text = tokenize({.parts = {{"a", false}, {"b", true}}, .ended = false, .begun = true},
                             ByteTokenizer())
                        .value();
  EXPECT_THAT(text.tokens, ElementsAre('a', 'b'));
  EXPECT_THAT(text.weights, ElementsAre(0, 1));
}

TEST(TokenizeTest, ASingleTokenFollowsAnEndOfText) {
  const auto text =
      tokenize({.parts = {{"a", true}}, .ended = false, .begun = true}, ByteTokenizer()).value();
  EXPECT_THAT(text.tokens, ElementsAre(ByteTokenizer::kEndOfText, 'a'));
  EXPECT_THAT(text.weights, ElementsAre(0, 1));
}

TEST(TokenizeTest, AnEndThatTheTokenizerDoesNotKnowIsAnErrorOnlyWhereItIsNeeded) {
  const auto ended = tokenize({.parts = {{"ab", true}}}, BareTokenizer());
  ASSERT_FALSE(ended.ok());
  EXPECT_THAT(ended.error().message(), HasSubstr("does not tell which token ends a text"));
  EXPECT_TRUE(tokenize({.parts = {{"ab", true}}, .ended = false}, BareTokenizer()).ok());
}

}  // namespace
}  // namespace tinkex::torch_ext
