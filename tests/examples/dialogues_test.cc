#include "examples/support/file_task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

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

Example dialogue() { return tinkex::torch_ext::parse_example(kDialogue).value(); }

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

TEST(DialoguesTest, TheTaskWritesDialoguesByTheModelsTemplate) {
  const auto task = file_task("f", {dialogue()}, 1);
  const ChatTokenizer tokenizer = with(model_template("qwen3"));
  EXPECT_EQ(task->fit(tokenizer, 1'000).value(),
            "dialogues are written by the model's chat template");
  EXPECT_TRUE(task->batch(0, 1)[0].begun);
  ASSERT_EQ(task->prompts().size(), 1u);
  EXPECT_TRUE(task->prompts()[0].begun);
  EXPECT_TRUE(task->prompts()[0].text.ends_with("how?<|im_end|>\n<|im_start|>assistant\n"));
  EXPECT_EQ(task->prompts()[0].shown, "how?");
  // Up to the token that ends a text.
  EXPECT_EQ(task->prompts()[0].expected, "<think>\n\n</think>\n\nso<");
}

TEST(DialoguesTest, WithoutATemplateTheTaskWritesPlainLinesAndSaysWhy) {
  const std::vector<Example> examples{dialogue()};
  const auto plain = file_task("f", examples, 1);
  EXPECT_THAT(plain->fit(tinkex::ByteTokenizer(), 1'000).value(),
              AllOf(HasSubstr("plain lines"), HasSubstr("the model has no chat template")));
  EXPECT_EQ(plain->batch(0, 1)[0].parts[0].text, "user: hi\nassistant: ");
  EXPECT_EQ(plain->prompts()[0].shown, "");  // The end of the text has it.
  const auto unusable = file_task("f", examples, 1);
  const ChatTokenizer tokenizer(tinkex::Error(tinkex::ErrorCode::kIo, "x.gguf: no macros"));
  EXPECT_THAT(unusable->fit(tokenizer, 1'000).value(), HasSubstr("x.gguf: no macros"));
}

TEST(DialoguesTest, ATemplateThatWritesNoAnswerIsBlamedAndNotTheLength) {
  Example first = dialogue();
  first.line = 1;
  for (const char* source : {"", "constant"}) {
    const auto task = file_task("f.jsonl", {first}, 1);
    const auto fitted = task->fit(with(ChatTemplate::parse(source, "", "").value()), 1'000);
    ASSERT_FALSE(fitted.ok()) << source;
    EXPECT_THAT(fitted.error().message(),
                HasSubstr("--data f.jsonl:1: the model's chat template writes nothing for an "
                          "assistant's turn"));
  }
}

TEST(DialoguesTest, ARefusalOfTheTemplateNamesTheLine) {
  Example second = dialogue();
  second.line = 2;
  const auto task = file_task("f.jsonl", {{.parts = {{"a", false}, {"b", true}}}, second}, 1);
  const auto fitted =
      task->fit(with(ChatTemplate::parse("{{ raise_exception('no') }}", "", "").value()), 1'000);
  ASSERT_FALSE(fitted.ok());
  EXPECT_EQ(fitted.error().code(), tinkex::ErrorCode::kInvalidArgument);
  EXPECT_EQ(fitted.error().message(),
            "--data f.jsonl:2: chat template, line 1: the template refuses the messages: no");
}

}  // namespace
}  // namespace sft
