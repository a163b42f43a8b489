#include "examples/support/dialogues.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "examples/support/file_task.h"
#include "examples/support/text_files.h"

namespace sft {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using tinkex::ChatTemplate;

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
std::string shown(const Example& example) {
  std::string text;
  for (const Part& part : example.parts) text += part.trained ? "«" + part.text + "»" : part.text;
  return text;
}

/// A tokenizer of bytes with a chat template.
class ChatTokenizer final : public tinkex::Tokenizer {
 public:
  explicit ChatTokenizer(tinkex::ChatTemplateResult chat) : chat_(std::move(chat)) {}

  std::vector<std::int64_t> encode(std::string_view text) const override {
    return bytes_.encode(text);
  }
  std::string decode(std::span<const std::int64_t> tokens) const override {
    return bytes_.decode(tokens);
  }
  std::vector<std::int64_t> begin_of_text() const override { return bytes_.begin_of_text(); }
  std::int64_t eos_token() const override { return '|'; }
  std::int64_t vocab_size() const override { return bytes_.vocab_size(); }
  tinkex::ChatTemplateResult chat_template() const override { return chat_; }

 private:
  tinkex::ByteTokenizer bytes_;
  tinkex::ChatTemplateResult chat_;
};

ChatTokenizer with(ChatTemplate chat) {
  return ChatTokenizer(std::make_shared<const ChatTemplate>(std::move(chat)));
}

TEST(DialoguesTest, OnlyTheAssistantsTurnsAreLearned) {
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

TEST(DialoguesTest, ATemplateMayHaveNoPromptOfItsOwn) {
  const auto written = write_dialogue(model_template("llama2"), kDialogue).value();
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(shown(written[0]), "<s>[INST] hi [/INST]« yo </s>»<s>[INST] how? [/INST]« so </s>»");
}

TEST(DialoguesTest, ATurnThatChangesEarlierOnesBeginsAnotherExample) {
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

TEST(DialoguesTest, TheDateIsTheSameEveryDay) {
  const auto written = write_dialogue(model_template("llama3.2"), kDialogue).value();
  EXPECT_THAT(shown(written[0]), AllOf(HasSubstr("Today Date: 26 Jul 2024"),
                                       HasSubstr("assistant<|end_header_id|>\n\n«yo<|eot_id|>»")));
}

TEST(DialoguesTest, ToolsOfTheLineAreWritten) {
  const auto written =
      write_dialogue(model_template("qwen2.5"),
                     R"({"tools": [{"name": "f"}], "messages": [{"role": "user", "content": "a"},)"
                     R"({"role": "assistant", "content": "b"}]})");
  EXPECT_THAT(shown(written->front()), HasSubstr("<tools>\n{\"name\": \"f\"}\n</tools>"));
}

TEST(DialoguesTest, ATurnThatIsWrittenElsewhereIsAnError) {
  const auto chat = ChatTemplate::parse(
      "{% for m in messages|reverse %}{{ m.role }}{{ m.content }}{% endfor %}", "", "");
  EXPECT_THAT(write_dialogue(*chat, kDialogue).error().message(),
              HasSubstr("does not write an assistant's turn after"));
}

TEST(DialoguesTest, TheTaskWritesDialoguesByTheModelsTemplate) {
  const auto task =
      file_task("f", parse_jsonl(std::string(kDialogue) + "\n", "f.jsonl").value(), 1);
  const ChatTokenizer tokenizer = with(model_template("qwen3"));
  EXPECT_EQ(task->fit(tokenizer, 1'000).value(),
            "dialogues are written by the model's chat template");
  EXPECT_TRUE(task->batch(0, 1)[0].begun);
  ASSERT_EQ(task->prompts().size(), 1u);
  EXPECT_TRUE(task->prompts()[0].begun);
  EXPECT_TRUE(task->prompts()[0].text.ends_with("how?<|im_end|>\n<|im_start|>assistant\n"));
  // Up to the token that ends a text.
  EXPECT_EQ(task->prompts()[0].expected, "<think>\n\n</think>\n\nso<");
}

TEST(DialoguesTest, WithoutATemplateTheTaskWritesPlainLinesAndSaysWhy) {
  const auto examples = parse_jsonl(kDialogue, "f.jsonl").value();
  const auto plain = file_task("f", examples, 1);
  EXPECT_THAT(plain->fit(tinkex::ByteTokenizer(), 1'000).value(),
              AllOf(HasSubstr("plain lines"), HasSubstr("the model has no chat template")));
  EXPECT_EQ(plain->batch(0, 1)[0].parts[0].text, "user: hi\nassistant: ");
  const auto unusable = file_task("f", examples, 1);
  const ChatTokenizer tokenizer(tinkex::Error(tinkex::ErrorCode::kIo, "x.gguf: no macros"));
  EXPECT_THAT(unusable->fit(tokenizer, 1'000).value(), HasSubstr("x.gguf: no macros"));
}

TEST(DialoguesTest, ARefusalOfTheTemplateNamesTheLine) {
  const std::string good = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
  const auto task = file_task("f.jsonl", parse_jsonl(good + kDialogue, "f.jsonl").value(), 1);
  const auto fitted =
      task->fit(with(ChatTemplate::parse("{{ raise_exception('no') }}", "", "").value()), 1'000);
  ASSERT_FALSE(fitted.ok());
  EXPECT_EQ(fitted.error().code(), tinkex::ErrorCode::kInvalidArgument);
  EXPECT_EQ(fitted.error().message(),
            "--data f.jsonl, line 2: chat template, line 1: the template refuses the messages: no");
}

}  // namespace
}  // namespace sft
