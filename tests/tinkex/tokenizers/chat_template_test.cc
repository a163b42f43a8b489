#include "tinkex/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace tinkex {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const Json kHi = Json::parse(R"([{"role": "user", "content": "Hi"}])");

Result<std::string> render(const std::string& text, const Json& messages = kHi,
                           const ChatInputs& inputs = {}) {
  const auto parsed = ChatTemplate::parse(text, "<s>", "");
  if (!parsed) return parsed.error();
  return parsed->render(messages, inputs);
}

std::string error_of(const std::string& text, const Json& messages = kHi) {
  const Result<std::string> result = render(text, messages);
  EXPECT_FALSE(result.ok()) << *result;
  if (result.ok()) return "";
  EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument);
  return result.error().message();
}

std::string repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST(ChatTemplateTest, ATokenThatThereIsNotIsUndefined) {
  EXPECT_EQ(render("{{ bos_token }}{{ eos_token is defined }}").value(), "<s>False");
}

TEST(ChatTemplateTest, AMemberThatIsNullIsAbsent) {
  const Json messages = Json::parse(R"([{"role": "assistant", "content": null, "x": [null]}])");
  EXPECT_EQ(render("{{ messages[0].content is defined }}{{ messages[0].x }}", messages).value(),
            "False[None]");
}

TEST(ChatTemplateTest, VariablesWinOverWhatIsAlwaysThere) {
  const ChatInputs inputs = {.variables = {{"tools", {1, 2}}, {"bos_token", "B"}}};
  EXPECT_EQ(render("{{ tools }}{{ bos_token }}{{ documents }}", kHi, inputs).value(),
            "[1, 2]BNone");
}

TEST(ChatTemplateTest, TheTimeIsTheGivenOneOrThatOfThisMachine) {
  using namespace std::chrono;  // NOLINT(google-build-using-namespace): for the literals.
  const ChatInputs inputs = {.now = local_days(2024y / July / 26) + 23h};
  EXPECT_EQ(render("{{ strftime_now('%d %b %Y, %H') }}", kHi, inputs).value(), "26 Jul 2024, 23");
  EXPECT_GE(std::stoi(render("{{ strftime_now('%Y') }}").value()), 2024);
  EXPECT_THAT(error_of("{{ strftime_now('%9999999d') }}"), HasSubstr("date"));
}

TEST(ChatTemplateTest, BytesThatAreNotUtf8BecomeReplacements) {
  const Json messages = {{{"role", "user"}, {"content", "a\xff"}}};
  EXPECT_EQ(render("{{ messages[0].content }}", messages).value(), "a\xef\xbf\xbd");
  EXPECT_THAT(error_of("a\xff"), HasSubstr("is not UTF-8"));
}

TEST(ChatTemplateTest, WhatTheMessagesAreNotIsNamed) {
  EXPECT_THAT(error_of("x", Json::object()), StartsWith("messages: expected an array"));
  EXPECT_THAT(error_of("x", Json::parse(R"([{}, "text"])")),
              StartsWith("messages[1]: expected an object with role and content, not string"));
  EXPECT_THAT(
      error_of("x", Json::parse("[{\"a\": " + repeated("[", 99) + repeated("]", 99) + "}]")),
      HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of("x", Json::parse(R"([{"a": 18446744073709551615}])")),
              HasSubstr("does not fit into 64 bits"));
  EXPECT_FALSE(render("x", kHi, {.variables = Json::array()}).ok());
}

TEST(ChatTemplateTest, ARefusalIsQuotedWithItsLine) {
  EXPECT_EQ(error_of("a\n{{ raise_exception('roles\nmust alternate') }}"),
            "chat template, line 2: the template refuses the messages: roles must alternate");
}

TEST(ChatTemplateTest, AMistakeIsNamedWithItsLine) {
  EXPECT_THAT(error_of("a\nb{{ messages[0].role.x.y }}"),
              AllOf(HasSubstr("line 2"), HasSubstr("has no 'x'")));
  EXPECT_THAT(error_of("\n\n{% macro f() %}{% endmacro %}"),
              AllOf(HasSubstr("line 3"), HasSubstr("'macro' is not supported")));
  EXPECT_THAT(error_of("{% if x %}\n"), HasSubstr("expected {% endif %}, but there is the end"));
  EXPECT_THAT(error_of("{{ nothing + 1 }}"), HasSubstr("'nothing' is undefined"));
  EXPECT_THAT(error_of("{{ 1 | shout }}"), HasSubstr("filter 'shout' is not supported"));
}

TEST(ChatTemplateTest, ATemplateThatIsTooLongOrTooDeepIsRefused) {
  EXPECT_THAT(error_of(std::string(300'000, 'a')), HasSubstr("300000 bytes"));
  for (const char* part :
       {"(", "[", "{'a':", "not ", "- ", "1 if 1 else ", "a.", "1 + ", "a|abs|", "a and ", "f("}) {
    EXPECT_THAT(error_of("{{ " + repeated(part, 20'000) + "1 }}"),
                HasSubstr("chat template, line 1"))
        << part;
  }
  EXPECT_THAT(error_of(repeated("{% if 1 %}", 20'000)), HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of(repeated("{% for a in b %}", 10'000)), HasSubstr("nested too deeply"));
}

TEST(ChatTemplateTest, AChainOfConditionsOrTextsIsNotDeep) {
  EXPECT_EQ(render("{{ " + repeated("'a' ~ ", 20'000) + "'' }}").value().size(), 20'000u);
  EXPECT_EQ(
      render("{% if 0 %}" + repeated("{% elif 0 %}", 5'000) + "{% else %}x{% endif %}").value(),
      "x");
}

TEST(ChatTemplateTest, WhatWouldNotEndIsStopped) {
  const std::string many = "{% for a in range(100000) %}";
  const std::string ends = "{% endfor %}";
  const std::string grow = "{% set ns = namespace(x='ab', l=[1]) %}{% for a in range(99) %}";
  for (const std::string& text : {
           many + many + ends + ends,
           many + "{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' }}" + many +
               ends + ends,
           grow + "{% set ns.x = ns.x + ns.x %}" + ends,
           grow + "{% set ns.x = ns.x * 1000 %}" + ends,
           grow + "{% set ns.x = ns.x.replace('a', ns.x) %}" + ends,
           grow + "{% set ns.l = ns.l + ns.l %}" + ends,
           grow + "{% set ns.l = [ns.l, ns.l] %}" + ends,
           grow + "{% set ns.x = [ns.x, ns.x]|join %}" + ends,
           std::string("{{ 'ab' * 9223372036854775807 }}"),
           std::string("{{ [1] * 9223372036854775807 }}"),
           std::string("{{ ('a' * 1000000 + 'b') in 'a' * 2000000 }}"),
           std::string("{{ range(-9223372036854775807, 9223372036854775807)|length }}"),
       }) {
    EXPECT_THAT(error_of(text), StartsWith("chat template, line 1: ")) << text;
  }
}

TEST(ChatTemplateTest, ValuesThatAreSharedTakeNoMoreThanTheyMay) {
  // 2^40 elements of a list that is small in memory.
  const std::string text =
      "{% set ns = namespace(l=[1, 2]) %}{% for a in range(40) %}{% set ns.l = [ns.l, ns.l] %}"
      "{% endfor %}";
  EXPECT_EQ(render(text + "{{ ns.l|length }}").value(), "2");
  EXPECT_THAT(error_of(text + "{{ ns.l }}"), HasSubstr("too many steps"));
  EXPECT_THAT(error_of(text + "{{ ns.l|tojson }}"), HasSubstr("too many steps"));
  EXPECT_THAT(error_of(text + text + "{{ ns.l == [ns.l[0], ns.l[1]] }}"), HasSubstr("too many"));
}

TEST(ChatTemplateTest, ANamespaceCannotHoldItself) {
  EXPECT_THAT(error_of("{% set ns = namespace() %}{% set ns.x = ns %}"), HasSubstr("namespace"));
  EXPECT_THAT(error_of("{% set ns = namespace() %}{% set ns.x = [ns] %}"), HasSubstr("stored"));
  EXPECT_THAT(error_of("{% set ns = namespace(_x=1) %}"), HasSubstr("underscore"));
}

TEST(ChatTemplateTest, LongConversationsHaveTheStepsThatTheyNeed) {
  Json messages = Json::array();
  for (int i = 0; i < 20'000; ++i) {
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", "<t>a</t> b"}});
  }
  const std::string text =
      "{% for m in messages[::-1] %}{% if m.role == 'x' %}{% endif %}{% endfor %}"
      "{% for message in messages %}{{ '<|' + message.role + '|>' + message['content'] | trim + "
      "message.content.split('</t>')[-1].lstrip() }}{% if not loop.last %}\n{% endif %}{% endfor "
      "%}";
  EXPECT_EQ(render(text, messages).value().size(), 10'000u * (8 + 13) + 20'000u * 11);
}

}  // namespace
}  // namespace tinkex
