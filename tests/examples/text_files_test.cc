#include "examples/support/text_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace sft {
namespace {

using ::testing::HasSubstr;

std::string temporary(const std::string& name, const std::string& content) {
  const std::string path = ::testing::TempDir() + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

std::string jsonl_error(const std::string& text) {
  const auto read = parse_jsonl(text, "f.jsonl");
  EXPECT_FALSE(read.ok());
  if (read.ok()) return {};
  EXPECT_EQ(read.error().code(), tinkex::ErrorCode::kInvalidArgument);
  return read.error().message();
}

TEST(JsonlTest, PromptIsReadAndCompletionIsLearned) {
  const auto read = parse_jsonl(
      "{\"prompt\": \"a\", \"completion\": \"b\"}\n\n"
      "{\"completion\": \"d\", \"prompt\": \"\", \"other\": 1}",
      "f.jsonl");
  ASSERT_TRUE(read.ok());
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ((*read)[0].parts[0].text, "a");
  EXPECT_FALSE((*read)[0].parts[0].trained);
  EXPECT_EQ((*read)[0].parts[1].text, "b");
  EXPECT_TRUE((*read)[0].parts[1].trained);
  EXPECT_TRUE((*read)[0].ended);
}

TEST(JsonlTest, EveryMessageOfTheAssistantIsLearned) {
  const auto read = parse_jsonl(
      R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}, )"
      R"({"role": "user", "content": "how?"}, {"role": "assistant", "content": "so"}, )"
      R"({"role": "user", "content": "bye"}]})",
      "f.jsonl");
  ASSERT_TRUE(read.ok());
  const std::vector<Part>& parts = read->front().parts;
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[0].text, "user: hi\nassistant: ");
  EXPECT_EQ(parts[1].text, "yo");
  EXPECT_EQ(parts[2].text, "\nuser: how?\nassistant: ");
  EXPECT_EQ(parts[3].text, "so");
  EXPECT_TRUE(parts[1].trained && parts[3].trained);
  EXPECT_FALSE(parts[0].trained || parts[2].trained);
}

TEST(JsonlTest, BadLineIsNamedByItsNumber) {
  const std::string good = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
  EXPECT_THAT(jsonl_error(good + "\n{\"prompt\": \"a\"}\n"),
              HasSubstr("f.jsonl, line 3: expected"));
  EXPECT_THAT(jsonl_error(good + "nonsense\n"), HasSubstr("line 2: is not JSON"));
  EXPECT_THAT(jsonl_error("[1]\n"), HasSubstr("line 1: expected"));
  EXPECT_THAT(jsonl_error(good + good + "{\"prompt\": \"\xff\", \"completion\": \"b\"}"),
              HasSubstr("line 3: is not UTF-8"));
  EXPECT_THAT(jsonl_error("{\"prompt\": 1, \"completion\": \"b\"}"), HasSubstr("line 1"));
}

TEST(JsonlTest, NothingToLearnIsAnError) {
  EXPECT_THAT(jsonl_error("{\"prompt\": \"a\", \"completion\": \"\"}"), HasSubstr("empty"));
  EXPECT_THAT(jsonl_error("{\"messages\": []}"), HasSubstr("nothing to learn"));
  EXPECT_THAT(jsonl_error("{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}"),
              HasSubstr("nothing to learn"));
  EXPECT_THAT(jsonl_error("{\"messages\": [{\"role\": \"user\"}]}"), HasSubstr("expected"));
  EXPECT_THAT(jsonl_error("{\"messages\": [{\"role\": \"assistant\", \"content\": \"\"}]}"),
              HasSubstr("line 1: an assistant's \"content\" is empty"));
  EXPECT_THAT(jsonl_error(" \n\n"), HasSubstr("is empty"));
}

TEST(PlainTextTest, PiecesTogetherAreTheText) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "line " + std::to_string(i) + " has w\xc3\xb6rds in it\n";
  const auto read = parse_plain_text(text, "f.txt");
  ASSERT_TRUE(read.ok());
  std::string joined;
  for (const Example& example : *read) {
    ASSERT_EQ(example.parts.size(), 1u);
    EXPECT_TRUE(example.parts[0].trained);
    EXPECT_FALSE(example.ended);
    EXPECT_LE(example.parts[0].text.size(), 128u);
    EXPECT_TRUE(is_utf8(example.parts[0].text));
    joined += example.parts[0].text;
  }
  EXPECT_EQ(joined, text);
}

TEST(PlainTextTest, TextWithoutSpacesIsCutBetweenCharacters) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "\xe2\x82\xac";
  const auto read = parse_plain_text(text, "f.txt");
  ASSERT_TRUE(read.ok());
  for (const Example& example : *read) EXPECT_EQ(example.parts[0].text.size() % 3, 0u);
}

TEST(PlainTextTest, BytesThatAreNotUtf8AreRefused) {
  EXPECT_FALSE(parse_plain_text("a\n\xff\n", "f.txt").ok());
  EXPECT_FALSE(parse_plain_text(std::string(1000, '\x80'), "f.txt").ok());
  EXPECT_FALSE(parse_plain_text("", "f.txt").ok());
}

TEST(Utf8Test, AcceptsWellFormedAndRefusesTheRest) {
  for (const char* good : {"", "abc", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  // A lone continuation, overlong forms, a surrogate, beyond U+10FFFF, and a cut sequence.
  for (const char* bad : {"\x80", "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xed\xa0\x80",
                          "\xf4\x90\x80\x80", "\xe2\x82", "\xff"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
}

TEST(ReadExamplesTest, FileIsReadByTheEndOfItsName) {
  EXPECT_EQ(read_examples(temporary("a.txt", "\xEF\xBB\xBFsome text"))->front().parts[0].text,
            "some text");
  EXPECT_TRUE(
      read_examples(temporary("a.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}")).ok());
}

TEST(ReadExamplesTest, WhatCannotBeReadIsNamedWithTheRemedy) {
  const auto message = [](const std::string& path) {
    const auto read = read_examples(path);
    return read.ok() ? std::string() : read.error().message();
  };
  EXPECT_THAT(message("/nowhere/x.txt"), HasSubstr("--data /nowhere/x.txt: No such file"));
  EXPECT_THAT(message(temporary("a.csv", "x")), HasSubstr("must end in .jsonl or .txt"));
  EXPECT_THAT(message(temporary("empty.txt", "")), HasSubstr("is empty"));
  const std::string folder = ::testing::TempDir() + "folder.txt";
  std::filesystem::create_directories(folder);
  EXPECT_THAT(message(folder), HasSubstr("is a directory"));
}

}  // namespace
}  // namespace sft
