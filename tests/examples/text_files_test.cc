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
  EXPECT_THAT(message("/nowhere/x.jsonl"), HasSubstr("--data /nowhere/x.jsonl: No such file"));
  EXPECT_THAT(message(temporary("bad.jsonl", "\nnonsense")), HasSubstr("bad.jsonl:2: is not JSON"));
  EXPECT_THAT(message(temporary("long.jsonl", std::string(std::size_t{17} << 20, ' '))),
              ::testing::EndsWith("long.jsonl:1: the line has more than 16777216 bytes, the most "
                                  "that are read of one; split the example"));
  EXPECT_THAT(message(temporary("a.csv", "x")), HasSubstr("must end in .jsonl or .txt"));
  EXPECT_THAT(message(temporary("empty.txt", "")), HasSubstr("is empty"));
  const std::string folder = ::testing::TempDir() + "folder.txt";
  std::filesystem::create_directories(folder);
  EXPECT_THAT(message(folder), HasSubstr("is a directory"));
  const std::string endless = ::testing::TempDir() + "endless.txt";
  std::filesystem::remove(endless);
  std::filesystem::create_symlink("/dev/zero", endless);
  EXPECT_THAT(message(endless), HasSubstr("endless.txt: is no regular file"));
  const std::string unreadable = ::testing::TempDir() + "unreadable.txt";
  std::filesystem::remove(unreadable);
  std::filesystem::create_symlink("/proc/self/mem", unreadable);
  EXPECT_EQ(message(unreadable), "--data: cannot read " + unreadable +
                                     ": Input/output error; check the name, and who may read it");
}

}  // namespace
}  // namespace sft
