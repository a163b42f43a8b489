// Chat templates and tokens as the files of a model have them.

#include "torch_ext/local/tokenizer_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/torch_ext/local/gguf_writer.h"
#include "tinkex/chat_template.h"
#include "torch_ext/local/model_tokenizer.h"

namespace tinkex::torch_ext::local::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kTemplate[] =
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor "
    "%}";

std::string rendered(const ChatTemplateResult& chat) {
  if (!chat) return chat.error().message();
  if (*chat == nullptr) return "none";
  return (*chat)->render({{{"role", "user"}, {"content", "hi"}}}).value();
}

class ChatTemplateFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    fs::copy_file("tests/torch_ext/local/testdata/models/llama/tokenizer.json",
                  folder_ / "tokenizer.json");
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary | std::ios::trunc) << text;
  }
  void write_config(const json& config) const { write("tokenizer_config.json", config.dump()); }
  std::string written() const {
    const auto tokenizer = json_tokenizer(folder_ / "tokenizer.json", {});
    return tokenizer ? rendered((*tokenizer)->chat_template()) : tokenizer.error().message();
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) /
                           ::testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(ChatTemplateFilesTest, ATokenizerAloneHasNone) {
  EXPECT_EQ(written(), "none");
  write_config({{"chat_template", nullptr}});
  EXPECT_EQ(written(), "none");
}

TEST_F(ChatTemplateFilesTest, TheConfigurationHasItWithTheTokens) {
  write_config({{"chat_template", kTemplate}});
  EXPECT_EQ(written(), "user: hi");
  write_config({{"chat_template", kTemplate},
                {"bos_token", {{"content", "<s>"}}},
                {"eos_token", "<|end|>"}});
  EXPECT_EQ(written(), "<s>user: hi<|end|>");
}

TEST_F(ChatTemplateFilesTest, OfNamedOnesItIsTheDefault) {
  const json tools = {{"name", "tool_use"}, {"template", "tools"}};
  write_config({{"chat_template", {tools, {{"name", "default"}, {"template", kTemplate}}}}});
  EXPECT_EQ(written(), "user: hi");
  write_config({{"chat_template", {tools}}});
  EXPECT_THAT(written(), AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("none is called")));
  write_config({{"chat_template", 5}});
  EXPECT_THAT(written(), HasSubstr("neither a text nor a list"));
}

TEST_F(ChatTemplateFilesTest, AFileOfItsOwnComesFirst) {
  write_config({{"chat_template", "other"}, {"eos_token", "<|end|>"}});
  write("chat_template.jinja", kTemplate);
  EXPECT_EQ(written(), "user: hi<|end|>");
  fs::remove(folder_ / "tokenizer_config.json");
  EXPECT_EQ(written(), "user: hi");
}

TEST_F(ChatTemplateFilesTest, OneThatCannotBeUsedSpoilsNothingElse) {
  write("chat_template.jinja", "a\n{% macro f() %}{% endmacro %}");
  EXPECT_THAT(written(), AllOf(HasSubstr("chat_template.jinja"), HasSubstr("line 2"),
                               HasSubstr("'macro' is not supported")));
  write("chat_template.jinja", std::string(300'000, 'a'));
  EXPECT_THAT(written(), HasSubstr("chat_template.jinja"));
  // What ends the text is known from elsewhere, so that this file is not needed.
  fs::remove(folder_ / "chat_template.jinja");
  write("tokenizer_config.json", "nonsense");
  const TokenizerFrame known = {.ends = {270}, .vocab_size = std::nullopt};
  const auto tokenizer = json_tokenizer(folder_ / "tokenizer.json", known).value();
  EXPECT_EQ(tokenizer->eos_token(), 270);
  EXPECT_THAT(rendered(tokenizer->chat_template()), HasSubstr("tokenizer_config.json"));
}

/// A GGUF file with a tokenizer of two letters.
GgufWriter letters() {
  GgufWriter file;
  file.text("tokenizer.ggml.model", "gpt2");
  file.text("tokenizer.ggml.pre", "gpt-2");
  file.texts("tokenizer.ggml.tokens", {"a", "b", "ab", "<s>", "</s>"});
  file.texts("tokenizer.ggml.merges", {"a b"});
  file.array("tokenizer.ggml.token_type", GgufKind::kInt32, 5,
             raw(std::vector<std::int32_t>{1, 1, 1, 3, 3}));
  file.uint32("tokenizer.ggml.bos_token_id", 3);
  return file;
}

TEST_F(ChatTemplateFilesTest, AGgufFileHasItInItsMetadata) {
  const auto of = [&](const GgufWriter& file) {
    write("model.gguf", file.bytes());
    const auto opened = GgufFile::open(folder_ / "model.gguf").value();
    const auto tokenizer = gguf_tokenizer(*opened, {});
    return tokenizer ? rendered((*tokenizer)->chat_template()) : tokenizer.error().message();
  };
  EXPECT_EQ(of(letters()), "none");
  EXPECT_EQ(of(letters().text("tokenizer.chat_template", kTemplate)), "<s>user: hi");
  EXPECT_EQ(of(letters()
                   .text("tokenizer.chat_template", kTemplate)
                   .uint32("tokenizer.ggml.eos_token_id", 4)),
            "<s>user: hi</s>");
  EXPECT_THAT(of(letters().text("tokenizer.chat_template", "{% if %}")),
              AllOf(HasSubstr("model.gguf"), HasSubstr("line 1")));
  EXPECT_THAT(of(letters().uint32("tokenizer.chat_template", 1)), HasSubstr("chat_template"));
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
