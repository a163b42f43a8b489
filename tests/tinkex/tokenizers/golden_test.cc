// The same ids and the same text as Hugging Face's own library gives, for the four families; see
// tests/golden/tokenizers/generate.py.

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tinkex/tokenizers/bpe_tokenizer.h"
#include "tinkex/tokenizers/streaming_decoder.h"

namespace tinkex::tokenizers {
namespace {

using Ids = std::vector<std::int64_t>;
using Json = nlohmann::json;

std::string read(const std::string& name) {
  std::ifstream file("tests/golden/tokenizers/" + name, std::ios::binary);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

class GoldenTest : public testing::TestWithParam<const char*> {
 protected:
  GoldenTest()
      : texts_(Json::parse(read("texts.json")).get<std::vector<std::string>>()),
        expected_(Json::parse(read(std::string(GetParam()) + ".expected.json"))),
        tokenizer_(BpeTokenizer::from_json(read(std::string(GetParam()) + ".tokenizer.json"))) {}

  void SetUp() override { ASSERT_TRUE(tokenizer_.ok()) << tokenizer_.error().what(); }

  Ids encode(const std::string& text, EncodeOptions options) const {
    const Result<Ids> ids = tokenizer_->encode(text, options);
    EXPECT_TRUE(ids.ok());
    return ids.ok() ? *ids : Ids();
  }

  std::vector<std::string> texts_;
  Json expected_;
  Result<BpeTokenizer> tokenizer_;
};

TEST_P(GoldenTest, EveryTextGivesTheSameIds) {
  ASSERT_GE(texts_.size(), 2'500u);
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    EXPECT_EQ(encode(texts_[i], {}), expected_["encoded"][i].get<Ids>()) << Json(texts_[i]);
  }
}

TEST_P(GoldenTest, TheIdsGiveTheSameText) {
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    const Ids ids = expected_["encoded"][i].get<Ids>();
    const std::string text = expected_["decoded"].value(std::to_string(i), texts_[i]);
    EXPECT_EQ(tokenizer_->decode_text(ids, /*skip_special_tokens=*/false), text);
  }
}

TEST_P(GoldenTest, SpecialTokensMayBeTextLikeAnyOther) {
  ASSERT_GE(expected_["as_text"].size(), 20u);
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    const Json& encoded = expected_["encoded"][i];
    const Json ids = expected_["as_text"].value(std::to_string(i), encoded);
    const EncodeOptions options{.recognize_special_tokens = false};
    EXPECT_EQ(encode(texts_[i], options), ids.get<Ids>()) << Json(texts_[i]);
  }
}

TEST_P(GoldenTest, AnyIdsGiveTheSameTextAtOnceAndOneByOne) {
  for (const Json& row : expected_["random"]) {
    const Ids ids = row[0].get<Ids>();
    for (const bool skip : {false, true}) {
      const std::string text = row[skip ? 2 : 1].get<std::string>();
      EXPECT_EQ(tokenizer_->decode_text(ids, skip), text);
      StreamingDecoder stream(*tokenizer_, skip);
      std::string pieces;
      for (const std::int64_t id : ids) pieces += stream.push(id);
      EXPECT_EQ(pieces + stream.finish(), text);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenTest,
                         testing::Values("gpt2", "llama3", "qwen2", "smollm2"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace tinkex::tokenizers
