// The same text as jinja2 gives, set up as Hugging Face's transformers does: for the templates of
// model families, and for snippets; see tests/golden/chat_templates/generate.py.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "tinkex/chat_template.h"

namespace tinkex {
namespace {

using Json = nlohmann::ordered_json;

std::string read(const std::string& name) {
  std::ifstream file("tests/golden/chat_templates/" + name, std::ios::binary);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

/// 2026-02-09 08:05:03, as in generate.py.
std::chrono::local_seconds generators_now() {
  using namespace std::chrono;  // NOLINT(google-build-using-namespace): for the literals.
  return local_days(2026y / February / 9) + 8h + 5min + 3s;
}

/// The text, or null where it is refused; a refusal must tell the line.
Json rendered(const std::string& text, const Json& messages, bool prompt, const Json& variables) {
  const auto parsed = ChatTemplate::parse(text, "<s>", "</s>");
  const Result<std::string> result =
      parsed ? parsed->render(messages, {prompt, variables, generators_now()}) : parsed.error();
  if (result) return *result;
  EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(result.error().message().starts_with("chat template, line ")) << text;
  return nullptr;
}

class ChatGoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(ChatGoldenTest, EveryConversationGivesTheSameText) {
  const std::string name = GetParam();
  const std::string text = read(name + ".jinja");
  const Json cases = Json::parse(read(name + ".expected.json"));
  ASSERT_GE(cases.size(), 70u);
  for (const Json& each : cases) {
    EXPECT_EQ(rendered(text, each["messages"], each["add_generation_prompt"].get<bool>(),
                       each["variables"]),
              each["expected"])
        << each.dump();
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ChatGoldenTest,
                         testing::Values("llama2", "llama3", "llama3.1", "llama3.2", "qwen2",
                                         "qwen2.5", "qwen3", "smollm2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(ChatSnippetTest, EveryFeatureDoesWhatItDoesInJinja) {
  const Json golden = Json::parse(read("snippets.expected.json"));
  ASSERT_GE(golden.size(), 150u);
  const Json& inputs = golden[0];
  for (std::size_t i = 1; i < golden.size(); ++i) {
    const auto text = golden[i][0].get<std::string>();
    EXPECT_EQ(rendered(text, inputs["messages"], false, inputs["variables"]), golden[i][1])
        << "of " << text;
  }
}

}  // namespace
}  // namespace tinkex
