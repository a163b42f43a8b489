// Templates that try to take minutes or gigabytes with few steps, by long texts: once for
// everything that a template may call, and those that once did.

#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/fuzz/allocation_meter.h"
#include "tinkex/chat_template.h"
#include "tinkex/tokenizers/jinja/filters.h"
#include "tinkex/tokenizers/jinja/methods.h"

namespace tinkex::fuzz {
namespace {

using Json = nlohmann::ordered_json;

/// What tinkex/chat_template.h promises.
constexpr std::size_t kMostMemory = std::size_t{64} << 20;
/// Given back or not: a quarter of a kilobyte for each of a million steps. A copy of a long text at
/// each turn of a loop is a thousand times more.
constexpr std::size_t kMostCopied = std::size_t{256} << 20;
/// A watchdog for work that copies nothing, and no measure: a test takes a second at most, and
/// without the limits minutes.
constexpr unsigned kMostSeconds = 60;

// Together what is held without limits is a gigabyte, which a machine survives.
const std::string kLong = "{% set s = '" + std::string(1'000, 'a') + "' * 3000 %}{% set z = '" +
                          std::string(1'000, ' ') + "' * 3000 %}";
const std::string kLists = "{% set t = 'a' * 63 %}{% set l = [s] * 300 %}{% set d = {s: s} %}";
const std::string kMany = "{% for i in range(3000) %}";
const std::string kEnd = "{% endfor %}";

class LimitsTest : public testing::Test {
 protected:
  void SetUp() override { alarm(kMostSeconds); }
  void TearDown() override { alarm(0); }

  /// Whether the template is refused is all the same.
  static void expect_limits(const std::string& text) {
    const auto chat = ChatTemplate::parse(text, "", "");
    ASSERT_TRUE(chat.ok()) << chat.error().message();
    const Json messages = Json::array();
    const AllocationMeter meter;
    (void)chat->render(messages);
    EXPECT_LE(meter.peak(), kMostMemory) << text.substr(0, 2'500);
    EXPECT_LE(meter.total(), kMostCopied) << text.substr(0, 2'500);
  }
};

/// Everything is called with these values...
const std::vector<std::string> kValues = {"t", "z", "l", "d"};
/// ...and these arguments.
const std::vector<std::string> kArguments = {"", "s", "l", "s, s", "t, s"};

class CallLimitsTest : public LimitsTest, public testing::WithParamInterface<std::string> {
 protected:
  /// `before` VALUE `after` ARGUMENTS ), again and again.
  static void expect_limits_of(const std::string& before, const std::string& after,
                               const std::vector<std::string>& further = {}) {
    std::vector<std::string> all = kArguments;
    all.insert(all.end(), further.begin(), further.end());
    for (const std::string& value : kValues) {
      for (const std::string& arguments : all) {
        expect_limits(kLong + kLists + kMany + "{% if " + before + value + after + arguments +
                      ") %}{% endif %}" + kEnd);
      }
    }
  }
};

using FilterLimitsTest = CallLimitsTest;
TEST_P(FilterLimitsTest, LongTextsAreSpentForByTheFilter) {
  expect_limits_of("", "|" + GetParam() + "(",
                   {"attribute=s", "indent=s", "separators=(s, s)", "d=s"});
}
using TestLimitsTest = CallLimitsTest;
// Of a test such as `==` only `select` knows the name.
TEST_P(TestLimitsTest, LongTextsAreSpentForByTheTest) {
  expect_limits_of("[", "]|select('" + GetParam() + "', ");
}
using MethodLimitsTest = CallLimitsTest;
TEST_P(MethodLimitsTest, LongTextsAreSpentForByTheMethod) {
  expect_limits_of("", "." + GetParam() + "(", {"(s,) * 1000"});
}

/// As GoogleTest allows: `==` has no letters.
std::string name_of(const testing::TestParamInfo<std::string>& info) {
  return isalpha(info.param.front()) != 0 ? info.param : "Sign" + std::to_string(info.index);
}

INSTANTIATE_TEST_SUITE_P(All, FilterLimitsTest, testing::ValuesIn(jinja::filter_names()), name_of);
INSTANTIATE_TEST_SUITE_P(All, TestLimitsTest, testing::ValuesIn(jinja::test_names()), name_of);
INSTANTIATE_TEST_SUITE_P(All, MethodLimitsTest, testing::ValuesIn(jinja::method_names()), name_of);

TEST_F(LimitsTest, ATextIsSpentForBeforeItIsJoined) {
  expect_limits(kLong + "{{ ''.join([s] * 300) }}");
  expect_limits(kLong + "{{ ([s] * 300)|join(s) }}");
  expect_limits(kLong + "{{ s.join(['a'] * 100000) }}");
}

TEST_F(LimitsTest, WhatIsStrippedIsSpentForThoughTheTextIsShort) {
  const std::string last = "{% set s = 'b' * 2000000 + 'a' %}{% set t = 'a' * 63 %}";
  expect_limits(last + kMany + "{{ t.strip(s) }}" + kEnd);
  expect_limits(last + kMany + "{{ t|trim(s) }}" + kEnd);
}

TEST_F(LimitsTest, APathIsReadOnceForAllElements) {
  expect_limits(kLong + "{{ ([{}] * 100000)|map(attribute=s)|list }}");
  expect_limits(kLong + "{{ ([{}] * 100000)|selectattr(s)|list }}");
  expect_limits(kLong + "{{ ([{}] * 100000)|join(attribute=s) }}");
  expect_limits("{{ ([['a']] * 9)|map(attribute='0' ~ '.0' * 400000)|list }}");
}

TEST_F(LimitsTest, NamesOfANamespaceAreSpentFor) {
  expect_limits(kLong + kMany + "{% set x = namespace({s: 1}) %}" + kEnd);
  std::string held = kLong;
  for (int i = 0; i < 200; ++i) held += "{% set x" + std::to_string(i) + "=namespace({s:1})%}";
  expect_limits(held);
  const std::string set = "{% set n = namespace() %}";
  std::string wide = set;
  for (int i = 0; i < 1'000; ++i) wide += "{% set n.x" + std::to_string(i) + " = 1 %}";
  expect_limits(wide + kMany + "{{ n.x }}{{ n['x'] }}" + kEnd);
}

TEST_F(LimitsTest, LongNamesAreRefused) {
  for (const std::string& text : {
           std::string("{{ NAME }}"),
           std::string("{{ 1|string(NAME=1) }}"),
           kMany + "{% set x = dict(NAME=1) %}" + kEnd,
           std::string("{% for NAME in range(100000) %}{% endfor %}"),
       }) {
    const auto parse = [&](std::size_t length) {
      std::string with = text;
      with.replace(with.find("NAME"), 4, std::string(length, 'n'));
      return ChatTemplate::parse(with, "", "");
    };
    EXPECT_TRUE(parse(200).ok()) << text;
    ASSERT_FALSE(parse(201).ok()) << text;
    EXPECT_EQ(parse(100'000).error().message(), "chat template, line 1: a name is too long");
  }
}

TEST_F(LimitsTest, SmallValuesTakeNoMoreThanTheyMay) {
  std::string missing = "[xyz";
  for (int i = 0; i < 8'000; ++i) missing += ",xyz";
  const std::string collect = "{% set n = namespace(l=[]) %}" + kMany + "{% set n.l = n.l + ";
  for (const std::string& text : {
           collect + "[" + missing + "]] %}" + kEnd,
           collect + "[range(9999)|map('string')|list] %}" + kEnd,
           collect + "[([[]] * 9999)|map('list')|list] %}" + kEnd,
           collect + "[([[]] * 9999)|map('first')|list] %}" + kEnd,
           collect + "[([{}] * 9999)|map('items')|list] %}" + kEnd,
           collect + "[([{}] * 9999)|map(attribute='" + std::string(60, 'a') + "')|list] %}" + kEnd,
           collect + "[('a' * 9999)|list] %}" + kEnd,
           collect + "[(' a' * 9999).split()] %}" + kEnd,
           collect + "[(',' * 9999).split(',')] %}" + kEnd,
           collect + "[('\n' * 9999).splitlines()] %}" + kEnd,
           std::string("{{ (',' * 450000).split(',')|length }}"),
           std::string("{{ ('\n' * 450000).splitlines()|length }}"),
           std::string("{{ (' a' * 300000).rsplit()|length }}"),
           std::string("{{ ('a' * 800000)[::-1] }}"),
           std::string("{{ ('\x01' * 600000)|tojson|length }}{{ ['\x01' * 600000] }}"),
           std::string("{{ [-1234567890123456789] * 300000 }}"),
           std::string("{{ {'a': 1}.items()|list * 400000 }}"),
       }) {
    expect_limits(text);
  }
}

/// Of keys that are texts, numbers, or both.
jinja::Value dict_of(bool texts, bool numbers) {
  std::vector<std::pair<jinja::Value, jinja::Value>> items;
  for (int i = 0; i < 60; ++i) {
    const bool text = texts && (!numbers || i % 2 == 0);
    items.emplace_back(
        text ? jinja::Value::text(std::to_string(100 - i)) : jinja::Value::integer(100 - i),
        jinja::Value::none());
  }
  jinja::Run run(1'000'000, 1);
  return jinja::Value::dict(run, std::move(items));
}

TEST_F(LimitsTest, ASortWhoseStepsRunOutStaysWithinItsBounds) {
  const jinja::Arguments sorted = {{}, {{"sort_keys", jinja::Value::boolean(true)}}};
  for (const jinja::Value& dict :
       {dict_of(true, false), dict_of(false, true), dict_of(true, true)}) {
    for (std::size_t units = 0; units < 4'000; ++units) {
      jinja::Run run(units, 1);
      const jinja::Value text = jinja::apply_filter(run, "tojson", dict, sorted);
      EXPECT_EQ(text.text() != nullptr, run.ok());
    }
  }
}

}  // namespace
}  // namespace tinkex::fuzz
