#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/tinkex/tokenizers/small_tokenizer.h"

namespace tinkex::tokenizers {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<std::int64_t>;

std::string problem_of_text(std::string_view text) {
  const Result<BpeTokenizer> tokenizer = BpeTokenizer::from_json(text);
  if (tokenizer.ok()) return "";
  EXPECT_EQ(tokenizer.error().code(), ErrorCode::kIo);
  return tokenizer.error().message();
}

/// What is wrong after a change to a tokenizer that is right.
std::string problem(const std::function<void(Json&)>& change) {
  Json json = small_tokenizer({{"a", "b"}});
  change(json);
  return problem_of_text(json.dump());
}

/// The same for one member, named as a JSON pointer.
std::string problem(const char* where, const Json& value) {
  return problem([&](Json& json) { json[Json::json_pointer(where)] = value; });
}

TEST(TokenizerJsonTest, WhatTheFamiliesHaveIsTaken) {
  EXPECT_EQ(problem([](Json&) {}), "");
  EXPECT_EQ(problem("/normalizer", {{"type", "NFC"}}), "");
  EXPECT_EQ(problem("/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}}),
            "");
  EXPECT_EQ(problem("/post_processor", {{"type", "ByteLevel"}, {"trim_offsets", false}}), "");
  EXPECT_EQ(problem("/decoder", {{"type", "Sequence"}, {"decoders", {{{"type", "ByteLevel"}}}}}),
            "");
  EXPECT_EQ(problem("/model/dropout", 0.0), "");
  EXPECT_EQ(problem("/model/end_of_word_suffix", ""), "");
  EXPECT_EQ(problem("/model/unk_token", "not needed"), "");
  EXPECT_EQ(problem("/model/merges", {"#version: 0.2", "a b"}), "");
  EXPECT_EQ(problem([](Json& json) { json["model"].erase("type"); }), "");
}

TEST(TokenizerJsonTest, WhatIsNotSupportedIsNamed) {
  const Json lower = {{"type", "Lowercase"}};
  EXPECT_EQ(problem("/normalizer", lower),
            "tokenizer.json: normalizer \"Lowercase\" is not supported");
  EXPECT_EQ(
      problem("/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, lower}}}),
      "tokenizer.json: normalizer \"Lowercase\" is not supported");
  EXPECT_EQ(problem("/pre_tokenizer/type", "Metaspace"),
            "tokenizer.json: pre_tokenizer \"Metaspace\" is not supported");
  EXPECT_EQ(problem("/pre_tokenizer", {{"type", "Digits"}}),
            "tokenizer.json: pre_tokenizer does not end with ByteLevel");
  EXPECT_EQ(problem("/pre_tokenizer", nullptr),
            "tokenizer.json: pre_tokenizer is missing: only byte-level BPE is supported");
  EXPECT_EQ(problem("/pre_tokenizer/new_flag", 1),
            "tokenizer.json: the pre_tokenizer ByteLevel has an unknown field 'new_flag'");
  EXPECT_EQ(problem("/post_processor", {{"type", "BertProcessing"}}),
            "tokenizer.json: post_processor \"BertProcessing\" is not supported");
  EXPECT_EQ(problem("/decoder", {{"type", "WordPiece"}}),
            "tokenizer.json: decoder \"WordPiece\" is not supported");
  EXPECT_EQ(problem("/decoder", nullptr),
            "tokenizer.json: decoder is missing: only ByteLevel is supported");
  EXPECT_EQ(problem("/truncation", {{"max_length", 5}}),
            "tokenizer.json: truncation is not supported");
  EXPECT_EQ(problem("/padding", {{"pad_id", 5}}), "tokenizer.json: padding is not supported");
  EXPECT_EQ(problem("/version", "2.0"), "tokenizer.json: version \"2.0\" is not supported");
  EXPECT_EQ(problem("/extra", 1), "tokenizer.json: the file has an unknown field 'extra'");
  EXPECT_EQ(problem("/model/type", "Unigram"),
            "tokenizer.json: model \"Unigram\" is not supported");
  EXPECT_EQ(problem("/model", {{"type", "WordPiece"}, {"max_input_chars_per_word", 100}}),
            "tokenizer.json: model \"WordPiece\" is not supported");
  EXPECT_EQ(problem("/model/dropout", 0.1), "tokenizer.json: dropout 0.1 is not supported");
  EXPECT_EQ(problem("/model/byte_fallback", true),
            "tokenizer.json: byte_fallback is not supported");
  EXPECT_EQ(problem("/model/end_of_word_suffix", "</w>"),
            "tokenizer.json: end_of_word_suffix \"</w>\" is not supported");
}

TEST(TokenizerJsonTest, ASplitNeedsAPatternAndABehavior) {
  const auto with = [](const Json& split) {
    return problem("/pre_tokenizer",
                   {{"type", "Sequence"}, {"pretokenizers", {split, {{"type", "ByteLevel"}}}}});
  };
  const Json good = {{"type", "Split"}, {"pattern", {{"Regex", "a+"}}}, {"behavior", "Isolated"}};
  EXPECT_EQ(with(good), "");
  Json bad = good;
  bad["behavior"] = "Sideways";
  EXPECT_EQ(with(bad), "tokenizer.json: behavior \"Sideways\" is not supported");
  bad = good;
  bad["pattern"] = "a+";
  EXPECT_EQ(with(bad), "tokenizer.json: pattern is not {\"Regex\": ...} or {\"String\": ...}");
  bad["pattern"] = {{"Regex", "a$"}};
  EXPECT_NE(with(bad).find("the anchor $"), std::string::npos);
  EXPECT_EQ(problem("/pre_tokenizer",
                    {{"type", "Sequence"}, {"pretokenizers", {{{"type", "ByteLevel"}}, good}}}),
            "tokenizer.json: a pre_tokenizer after ByteLevel is not supported");
}

TEST(TokenizerJsonTest, BrokenVocabulariesAreRefused) {
  EXPECT_EQ(problem("/model/vocab/ab", 97), "tokens 'a' and 'ab' have the same id 97");
  EXPECT_EQ(problem("/model/vocab/ab", 4'000'000'000),
            "token 'ab' has the id 4000000000, which is too high for 257 tokens");
  EXPECT_EQ(problem("/model/vocab", Json::array()),
            "tokenizer.json: model.vocab is missing or is not an object");
  EXPECT_EQ(problem([](Json& json) { json["model"]["vocab"].erase("b"); }),
            "merge 0, 'a' and 'b': not in the vocabulary");
  std::string twice = small_tokenizer().dump();
  twice.insert(twice.find("\"vocab\":{") + 9, "\"b\":1000,");
  EXPECT_EQ(problem_of_text(twice), "token 'b' is there twice");
}

TEST(TokenizerJsonTest, BrokenMergesAreRefused) {
  const auto with = [](const char* merges) {
    return problem("/model/merges", Json::parse(merges));
  };
  const std::vector<std::pair<const char*, int>> no_merges = {
      {R"(["a b c"])", 0},         {R"(["ab"])", 0},       {R"([["a","b","c"]])", 0},
      {R"([["a","b"],["a"]])", 1}, {R"([["a",1]])", 0},    {R"([["a",["b"]]])", 0},
      {R"([{"a":"b"}])", 0},       {R"(["a b",null])", 1}, {R"([[]])", 0},
  };
  for (const auto& [merges, index] : no_merges) {
    EXPECT_EQ(with(merges), "not a valid tokenizer.json: merge " + std::to_string(index) +
                                " is neither \"left right\" nor a pair of texts")
        << merges;
  }
  EXPECT_EQ(with(R"([["a","zz"]])"), "merge 0, 'a' and 'zz': not in the vocabulary");
  EXPECT_EQ(with(R"(["b a"])"), "merge 0, 'b' and 'a': their whole is not in the vocabulary");
  EXPECT_EQ(with(R"("a b")"), "tokenizer.json: model.merges is missing or is not a list");
  EXPECT_EQ(problem([](Json& json) { json["model"].erase("merges"); }),
            "tokenizer.json: model.merges is missing or is not a list");
}

TEST(TokenizerJsonTest, AddedTokensFollowTheVocabulary) {
  const auto with = [](const Json& token) {
    return problem("/added_tokens", Json::array({token}));
  };
  EXPECT_EQ(with({{"id", 257}, {"content", "<x>"}}), "");
  EXPECT_EQ(with({{"id", 256}, {"content", "ab"}}), "");
  EXPECT_EQ(with({{"id", 300}, {"content", "<x>"}}),
            "tokenizer.json: added token '<x>' has the id 300 where 257 is expected");
  EXPECT_EQ(with({{"id", 257}, {"content", "ab"}}),
            "tokenizer.json: added token 'ab' has the id 257 where 256 is expected");
  EXPECT_EQ(with({{"id", 257}}), "tokenizer.json: content is missing or is not a text");
  EXPECT_EQ(with({{"content", "<x>"}}),
            "tokenizer.json: an id is missing or is not an integer of 32 bits");
  EXPECT_EQ(with({{"id", -1}, {"content", "<x>"}}),
            "tokenizer.json: an id is missing or is not an integer of 32 bits");
  EXPECT_EQ(with({{"id", 257}, {"content", ""}}), "added token '' is empty");
  EXPECT_EQ(with({{"id", 257}, {"content", "<x>"}, {"special", 1}}),
            "tokenizer.json: special is not true or false");
  EXPECT_EQ(with({{"id", 257}, {"content", std::string(1'025, 'x')}}).substr(0, 19),
            "added token 'xxxxxx");
  EXPECT_EQ(with("text"), "tokenizer.json: an added token is not an object");
}

Json template_of(const Json& single) {
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", Json::array()},
          {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {7}}, {"tokens", {"<s>"}}}}}}};
}

TEST(TokenizerJsonTest, ATemplateIsSpecialTokensAroundTheText) {
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json other = {{"Sequence", {{"id", "B"}, {"type_id", 0}}}};
  const Json special = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const Json unknown = {{"SpecialToken", {{"id", "<t>"}, {"type_id", 0}}}};
  Json json = small_tokenizer();
  json["post_processor"] = {
      {"type", "Sequence"},
      {"processors", {{{"type", "ByteLevel"}}, template_of({special, special, text, special})}}};
  const Result<BpeTokenizer> tokenizer = BpeTokenizer::from_json(json.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().what();
  EXPECT_EQ(*tokenizer->encode("a", {}), (Ids{7, 7, 'a', 7}));
  EXPECT_EQ(*tokenizer->encode("a", {.add_special_tokens = false}), Ids{'a'});
  EXPECT_EQ(problem("/post_processor", template_of({text, text})),
            "tokenizer.json: a template has more than special tokens around one text A");
  EXPECT_EQ(problem("/post_processor", template_of(Json::array({other}))),
            "tokenizer.json: a template has more than special tokens around one text A");
  EXPECT_EQ(problem("/post_processor", template_of(Json::array({special}))),
            "tokenizer.json: a template has no text A");
  EXPECT_EQ(problem("/post_processor", template_of({unknown, text})),
            "tokenizer.json: the template's special token '<t>' has no ids");
  Json outside = template_of({special, text});
  outside["special_tokens"]["<s>"]["ids"] = {9999};
  EXPECT_EQ(problem("/post_processor", outside),
            "tokenizer.json: the template's id 9999 is not in the vocabulary");
}

TEST(TokenizerJsonTest, WhatIsNoJsonIsRefused) {
  EXPECT_EQ(problem_of_text(""), "not a valid tokenizer.json: no JSON at byte 1");
  EXPECT_EQ(problem_of_text("[]"), "not a valid tokenizer.json: it is not an object");
  EXPECT_EQ(problem_of_text("3"), "not a valid tokenizer.json: it is not an object");
  EXPECT_EQ(problem_of_text("{}"), "tokenizer.json: model is missing");
  EXPECT_EQ(problem_of_text(R"({"model":3})"), "tokenizer.json: model is not an object");
  EXPECT_EQ(problem_of_text(R"({"a":1,"a":2})"), "not a valid tokenizer.json: 'a' is there twice");
  EXPECT_EQ(problem_of_text(R"({"model":{"vocab":{},"vocab":{}}})"),
            "not a valid tokenizer.json: 'vocab' is there twice");
  EXPECT_EQ(problem_of_text(R"({"model":{"vocab":{"a":-1}}})"),
            "not a valid tokenizer.json: the id of token 'a' is not an integer of 32 bits");
  for (const char* id : {"4294967296", "1.5", "null", "\"1\"", "[]", "{}", "1e3"}) {
    EXPECT_EQ(problem_of_text(R"({"model":{"vocab":{"a":)" + std::string(id) + "}}}"),
              "not a valid tokenizer.json: the id of token 'a' is not an integer of 32 bits");
  }
  EXPECT_EQ(problem_of_text(R"({"model":{"vocab":{"a":1,"a":2},"merges":[]}})"),
            "tokenizer.json: pre_tokenizer is missing: only byte-level BPE is supported");
}

TEST(TokenizerJsonTest, EveryPrefixOfAFileIsRefused) {
  const std::string text = small_tokenizer({{"a", "b"}}).dump();
  for (std::size_t size = 0; size < text.size(); size += 7) {
    EXPECT_NE(problem_of_text(std::string_view(text).substr(0, size)), "");
  }
}

TEST(TokenizerJsonTest, NestingIsBounded) {
  for (const char* open : {"[", "{\"a\":", "[{\"a\":"}) {
    std::string text = R"({"a":)";
    for (int i = 0; i < 1'000'000; ++i) text += open;
    EXPECT_EQ(problem_of_text(text), "not a valid tokenizer.json: more than 32 levels");
  }
}

}  // namespace
}  // namespace tinkex::tokenizers
