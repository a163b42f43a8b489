#include "torch_ext/jsonl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "torch_ext/seeded_order.h"

namespace tinkex::torch_ext {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string temporary(const std::string& name, const std::string& content) {
  const std::string path = ::testing::TempDir() + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

/// The texts of a file, or the error.
std::vector<std::string> texts(const std::string& content, const JsonlOptions& options = {}) {
  const auto read = read_jsonl(temporary("f.jsonl", content), options);
  if (!read) return {read.error().message()};
  std::vector<std::string> texts;
  for (const TextExample& example : *read) texts.push_back(example.parts.at(0).text);
  return texts;
}

TEST(JsonlTest, EachLineIsAnExampleAndKnowsItsNumber) {
  const auto read =
      read_jsonl(temporary("n.jsonl", "{\"text\": \"a\"}\n\n{\"text\": \"b\"}\n")).value();
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].line, 1u);
  EXPECT_EQ(read[1].line, 3u);
}

TEST(JsonlTest, WhatEditorsLeaveInAFileIsSkipped) {
  EXPECT_THAT(texts("\xEF\xBB\xBF{\"text\": \"a\"}\r\n\r\n \t\n{\"text\": \"b\"}"),
              ElementsAre("a", "b"));
  EXPECT_THAT(texts("\xEF\xBB\xBF\n{\"text\": \"a\"}"), ElementsAre("a"));
  EXPECT_THAT(texts("\n\n{\"text\": \"a\\r\\n\"}\n\n"), ElementsAre("a\r\n"));
}

TEST(JsonlTest, ABadLineIsNamedByFileLineAndField) {
  const std::string good = "{\"text\": \"a\"}\n";
  const auto message = [&](const std::string& bad) { return texts(good + "\n" + bad).at(0); };
  EXPECT_THAT(message("{\"text\": 7}"),
              EndsWith("f.jsonl:3: field 'text' is a number, expected a string"));
  EXPECT_THAT(message("{\"text\": \"a\""), HasSubstr("f.jsonl:3: is not JSON"));
  EXPECT_THAT(message("{\"text\": \"\xff\"}\n" + good), HasSubstr("f.jsonl:3: is not UTF-8"));
  // UTF-16.
  EXPECT_THAT(texts("\xFF\xFE{").at(0), HasSubstr("f.jsonl:1: is not UTF-8"));
}

TEST(JsonlTest, AFileWithoutExamplesIsAnError) {
  EXPECT_THAT(texts("").at(0), HasSubstr("f.jsonl: has no examples"));
  EXPECT_THAT(texts("\n \r\n").at(0), HasSubstr("f.jsonl: has no examples"));
}

TEST(JsonlTest, WhatCannotBeReadIsNamed) {
  const auto missing = read_jsonl("/nowhere/x.jsonl");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code(), ErrorCode::kIo);
  EXPECT_THAT(missing.error().message(), StartsWith("/nowhere/x.jsonl: No such file"));
  const std::string here = std::filesystem::current_path();
  EXPECT_THAT(read_jsonl("x.jsonl").error().message(), StartsWith(here + "/x.jsonl: No such file"));
  const auto folder = read_jsonl(::testing::TempDir());
  ASSERT_FALSE(folder.ok());
  EXPECT_EQ(folder.error().code(), ErrorCode::kIo);
  EXPECT_THAT(folder.error().message(), HasSubstr("is a directory"));
}

TEST(JsonlTest, ALineMayBeAsLongAsTheLimitAndNoLonger) {
  const std::string line = "{\"text\": \"" + std::string(100'000, 'x') + "\"}";
  const JsonlOptions exactly{.longest_line = line.size()};
  EXPECT_EQ(texts(line + "\n" + line, exactly).at(1).size(), 100'000u);
  EXPECT_THAT(texts("\n" + line + " \n", exactly).at(0),
              HasSubstr("f.jsonl:2: the line has more than 100012 bytes"));
}

TEST(JsonlTest, AGigabyteWithoutALineEndIsRefusedAfterTheLimit) {
  const std::string path = temporary("long.jsonl", "{\"text\": \"");
  std::filesystem::resize_file(path, std::uintmax_t{1} << 30);  // A hole: takes no disk.
  std::uint64_t reached = 0;
  const auto read = read_jsonl(
      path, {.longest_line = std::size_t{1} << 20,
             .progress = [&](const JsonlProgress& progress) { reached = progress.bytes; }});
  std::filesystem::remove(path);
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message(), HasSubstr("long.jsonl:1: the line has more than 1048576"));
  EXPECT_EQ(reached, 0u);
}

TEST(JsonlTest, ExamplesAreHandedOnOneByOneUntilAnErrorOfTheReceiver) {
  const std::string path =
      temporary("s.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n{\"text\": \"c\"}\nnonsense\n");
  std::vector<std::string> seen;
  const Status read = for_each_example(path, [&](const TextExample& example) -> Status {
    seen.push_back(example.parts.at(0).text);
    if (seen.size() == 2) return invalid_argument("enough");
    return ok_status();
  });
  ASSERT_FALSE(read.ok());
  EXPECT_THAT(read.error().message(), EndsWith("s.jsonl:2: enough"));
  EXPECT_THAT(seen, ElementsAre("a", "b"));
}

TEST(JsonlTest, ProgressIsToldOnTheWayAndAtTheEnd) {
  std::string content;
  for (int i = 0; i < 400; ++i) content += "{\"text\": \"" + std::string(10'000, 'x') + "\"}\n";
  std::vector<JsonlProgress> told;
  ASSERT_TRUE(read_jsonl(temporary("p.jsonl", content),
                         {.progress = [&](const JsonlProgress& p) { told.push_back(p); }})
                  .ok());
  ASSERT_GE(told.size(), 3u);
  EXPECT_LT(told.front().bytes, content.size());
  EXPECT_EQ(told.back().bytes, content.size());
  EXPECT_EQ(told.back().lines, 400u);
}

// The numbers are those of a Python program of the same rule.
TEST(SeededOrderTest, TheOrderIsTheSameOnEveryMachine) {
  EXPECT_THAT(seeded_order(10, 7, 0), ElementsAre(2, 0, 5, 7, 3, 9, 8, 1, 4, 6));
  EXPECT_THAT(seeded_order(10, 7, 1), ElementsAre(7, 4, 5, 6, 1, 2, 0, 8, 3, 9));
  EXPECT_THAT(seeded_order(10, 8, 0), ElementsAre(7, 3, 0, 5, 9, 2, 1, 8, 6, 4));
  EXPECT_THAT(seeded_order(10, ~std::uint64_t{0}, ~std::uint64_t{0}),
              ElementsAre(6, 3, 0, 8, 1, 7, 4, 9, 2, 5));
}

TEST(SeededOrderTest, EveryPlaceIsAsLikelyForEveryExample) {
  constexpr std::size_t kSize = 5;
  constexpr int kEpochs = 5'000;
  int counts[kSize][kSize] = {};
  for (int epoch = 0; epoch < kEpochs; ++epoch) {
    const auto order = seeded_order(kSize, 3, static_cast<std::uint64_t>(epoch));
    for (std::size_t place = 0; place < kSize; ++place) ++counts[place][order[place]];
  }
  for (const auto& of_place : counts) {
    for (const int count : of_place) EXPECT_NEAR(count, kEpochs / 5, 150);  // Five deviations.
  }
  EXPECT_TRUE(seeded_order(0, 1, 0).empty());
  EXPECT_THAT(seeded_order(1, 1, 0), ElementsAre(0));
}

}  // namespace
}  // namespace tinkex::torch_ext
