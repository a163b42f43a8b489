#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/tinkex/tokenizers/small_tokenizer.h"
#include "tinkex/tokenizers/tokenizer_writer.h"

namespace tinkex::tokenizers {
namespace {

using Ids = std::vector<std::int64_t>;

constexpr std::int64_t kMerged = 256;   // "ab"
constexpr std::int64_t kControl = 257;  // "<s>"
constexpr std::int64_t kUser = 258;     // "<tool>"

GgufVocabulary small_vocabulary(const std::string& pre) {
  GgufVocabulary vocabulary;
  vocabulary.pre = pre;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.emplace_back(token_of_byte(static_cast<unsigned char>(byte)));
  }
  vocabulary.token_types.assign(256, 1);
  for (const auto& [token, type] : {std::pair("ab", 1), {"<s>", 3}, {"<tool>", 4}, {"[PAD1]", 5}}) {
    vocabulary.tokens.emplace_back(token);
    vocabulary.token_types.push_back(type);
  }
  vocabulary.merges = {"a b"};
  vocabulary.bos_token = vocabulary.eos_token = kControl;
  return vocabulary;
}

std::string problem(const std::function<void(GgufVocabulary&)>& change) {
  GgufVocabulary vocabulary = small_vocabulary("smollm");
  change(vocabulary);
  const Result<BpeTokenizer> tokenizer = BpeTokenizer::from_gguf(std::move(vocabulary));
  if (tokenizer.ok()) return "";
  EXPECT_EQ(tokenizer.error().code(), ErrorCode::kIo);
  return tokenizer.error().message();
}

TEST(GgufVocabularyTest, TokensOfTheirTypesAreRecognised) {
  const Result<BpeTokenizer> tokenizer = BpeTokenizer::from_gguf(small_vocabulary("smollm"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().what();
  const Ids ids{kMerged, kControl, 'c', kUser, '1', '2'};
  EXPECT_EQ(*tokenizer->encode("ab<s>c<tool>12", {}), ids);
  EXPECT_EQ(tokenizer->decode(ids), "abc<tool>12");
  EXPECT_EQ(tokenizer->encode("<s>", {.recognize_special_tokens = false})->size(), 3u);
  EXPECT_EQ(tokenizer->encode("[PAD1]", {})->size(), 6u);
  EXPECT_EQ(tokenizer->eos_token(), kControl);
  EXPECT_EQ(tokenizer->vocab_size(), 260);
}

TEST(GgufVocabularyTest, Llama3BeginsEveryTextUnlessTheFileSaysOtherwise) {
  GgufVocabulary vocabulary = small_vocabulary("llama-bpe");
  EXPECT_EQ(*BpeTokenizer::from_gguf(vocabulary)->encode("c", {}), (Ids{kControl, 'c'}));
  vocabulary.add_bos = false;
  EXPECT_EQ(*BpeTokenizer::from_gguf(vocabulary)->encode("c", {}), Ids{'c'});
  vocabulary.add_eos = true;
  EXPECT_EQ(*BpeTokenizer::from_gguf(vocabulary)->encode("c", {}), (Ids{'c', kControl}));
}

TEST(GgufVocabularyTest, Qwen2NormalisesAndLlama3IgnoresMerges) {
  EXPECT_EQ(BpeTokenizer::from_gguf(small_vocabulary("qwen2"))->encode("e\u0301"),
            (Ids{0xc3, 0xa9}));
  EXPECT_EQ(BpeTokenizer::from_gguf(small_vocabulary("smollm"))->encode("e\u0301"),
            (Ids{'e', 0xcc, 0x81}));
  GgufVocabulary vocabulary = small_vocabulary("llama-bpe");
  vocabulary.merges.clear();
  EXPECT_EQ(BpeTokenizer::from_gguf(vocabulary)->encode("ab"), Ids{kMerged});
  vocabulary.pre = "gpt-2";
  EXPECT_EQ(BpeTokenizer::from_gguf(vocabulary)->encode("ab"), (Ids{'a', 'b'}));
}

TEST(GgufVocabularyTest, WrittenAsATokenizerJsonItEncodesTheSame) {
  const std::string text = "ab<s>c<tool>12 Abc's e\u0301  x [PAD1]\n\n2024 ab";
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "qwen2"}) {
    GgufVocabulary vocabulary = small_vocabulary(pre);
    vocabulary.add_eos = true;
    const Result<std::string> json = write_tokenizer_json(vocabulary);
    ASSERT_TRUE(json.ok()) << json.error().what();
    const Result<BpeTokenizer> written = BpeTokenizer::from_json(*json);
    ASSERT_TRUE(written.ok()) << written.error().what();
    const Result<BpeTokenizer> direct = BpeTokenizer::from_gguf(vocabulary);
    EXPECT_EQ(*written->encode(text, {}), *direct->encode(text, {})) << pre;
    const Ids all = *direct->encode(text, {});
    EXPECT_EQ(written->decode(all, false), direct->decode(all, false)) << pre;
    EXPECT_EQ(written->vocab_size(), direct->vocab_size());
  }
}

TEST(GgufVocabularyTest, WhatJsonCannotHoldIsNotWritten) {
  GgufVocabulary vocabulary = small_vocabulary("qwen2");
  vocabulary.tokens.back() = "\xff";  // unused, so that no one reads it
  EXPECT_EQ(write_tokenizer_json(vocabulary).error().code(), ErrorCode::kIo);
  vocabulary.pre = "other";
  EXPECT_EQ(write_tokenizer_json(vocabulary).error().code(), ErrorCode::kIo);
}

TEST(GgufVocabularyTest, WhatDoesNotFitIsRefused) {
  const std::string start = "the tokenizer of a GGUF file: ";
  EXPECT_EQ(problem([](auto&) {}), "");
  EXPECT_EQ(problem([](auto& v) { v.model = "llama"; }),
            start + "the model 'llama' is not supported; only gpt2, byte-level BPE, is");
  EXPECT_EQ(problem([](auto& v) { v.pre = "default"; }).substr(0, start.size() + 32),
            start + "the pre-tokenizer 'default' is n");
  EXPECT_EQ(problem([](auto& v) { v.token_types.pop_back(); }),
            start + "there are 260 tokens and 259 types");
  EXPECT_EQ(problem([](auto& v) { v.token_types[5] = 6; }),
            start + "token 5 has the type 6, which byte-level BPE does not have");
  EXPECT_EQ(problem([](auto& v) { v.merges.emplace_back("ab"); }),
            start + "merge 1, 'ab', is not two tokens with a space between them");
  EXPECT_EQ(problem([](auto& v) { v.merges.emplace_back("a c"); }),
            "merge 1, 'a' and 'c': their whole is not in the vocabulary");
  EXPECT_EQ(problem([](auto& v) { v.tokens[3] = "a"; }), "token 'a' is there twice");
  EXPECT_EQ(problem([](auto& v) { v.tokens[kUser] = "\xa9"; }), "added token '?' is not UTF-8");
  EXPECT_EQ(problem([](auto& v) { v.bos_token = 260; }),
            start + "bos_token_id 260 is not in the vocabulary");
  EXPECT_EQ(problem([](auto& v) { v.eos_token = -1; }),
            start + "eos_token_id -1 is not in the vocabulary");
  EXPECT_EQ(problem([](auto& v) {
              v.add_bos = true;
              v.bos_token.reset();
            }),
            start + "bos_token_id is missing");
}

}  // namespace
}  // namespace tinkex::tokenizers
