#include "tinkex/tokenizers/bpe_tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/tinkex/tokenizers/small_tokenizer.h"
#include "tinkex/base/random.h"
#include "tinkex/tokenizers/streaming_decoder.h"
#include "tinkex/tokenizers/utf8.h"

namespace tinkex::tokenizers {
namespace {

using Json = nlohmann::json;
using Ids = std::vector<std::int64_t>;

BpeTokenizer made(const Json& json) { return BpeTokenizer::from_json(json.dump()).value(); }

Ids bytes(std::string_view text) {
  Ids ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

Ids operator+(Ids left, const Ids& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

TEST(BpeTokenizerTest, TokensHaveTextsAndIds) {
  Json json = small_tokenizer({{"a", "b"}});
  add_token(json, "<|end|>", /*special=*/true);
  BpeTokenizer tokenizer = made(json);
  EXPECT_EQ(tokenizer.vocab_size(), 258);
  EXPECT_EQ(tokenizer.id_to_token(256), "ab");
  EXPECT_EQ(tokenizer.id_to_token(' '), "\u0120");
  EXPECT_EQ(tokenizer.id_to_token(257), "<|end|>");
  EXPECT_EQ(tokenizer.token_to_id("<|end|>"), 257);
  EXPECT_TRUE(tokenizer.is_special(257));
  EXPECT_FALSE(tokenizer.is_special(256));
  for (const std::int64_t id : {std::int64_t{-1}, std::int64_t{258}, INT64_MAX, INT64_MIN}) {
    EXPECT_EQ(tokenizer.id_to_token(id), std::nullopt);
    EXPECT_EQ(tokenizer.bytes_of(id), "");
    EXPECT_FALSE(tokenizer.is_special(id));
    EXPECT_FALSE(tokenizer.set_eos_token(id).ok());
  }
  EXPECT_EQ(tokenizer.token_to_id("nope"), std::nullopt);
  EXPECT_EQ(tokenizer.eos_token(), -1);
  ASSERT_TRUE(tokenizer.set_eos_token(257).ok());
  EXPECT_EQ(tokenizer.eos_token(), 257);
}

TEST(BpeTokenizerTest, IsATokenizer) {
  const BpeTokenizer bpe = made(small_tokenizer({{"a", "b"}}));
  const Tokenizer& tokenizer = bpe;
  EXPECT_EQ(tokenizer.encode("ab c"), (Ids{256, ' ', 'c'}));
  EXPECT_EQ(tokenizer.decode(Ids{256, ' ', 'c', 999}), "ab c");
}

TEST(BpeTokenizerTest, WhatIsNoUtf8CountsAsItsReplacement) {
  const BpeTokenizer tokenizer = made(small_tokenizer());
  EXPECT_EQ(tokenizer.encode("a\xff\xe2\x82z"), bytes("a\ufffd\ufffdz"));
  EXPECT_EQ(tokenizer.encode("\xc3"), bytes("\ufffd"));
  EXPECT_EQ(tokenizer.encode(std::string("a\0b", 3)), (Ids{'a', 0, 'b'}));
}

TEST(BpeTokenizerTest, TheLongestOfTheLeftmostAddedTokensIsTaken) {
  Json json = small_tokenizer();
  for (const char* content : {"<a", "<a>", "<a><b", "b>"}) add_token(json, content, false);
  const BpeTokenizer tokenizer = made(json);
  EXPECT_EQ(tokenizer.encode("<a><b>"), (Ids{258, '>'}));
  EXPECT_EQ(tokenizer.encode("<a><c>"), (Ids{257} + bytes("<c>")));
  EXPECT_EQ(tokenizer.encode("<ab>"), (Ids{256, 259}));
}

TEST(BpeTokenizerTest, FlagsOfAddedTokensCount) {
  Json json = small_tokenizer();
  add_token(json, "<l>", false, {"lstrip"});
  add_token(json, "<r>", false, {"rstrip"});
  add_token(json, "word", false, {"single_word"});
  const BpeTokenizer tokenizer = made(json);
  EXPECT_EQ(tokenizer.encode("a \u3000\n<l> b"), (Ids{'a', 256, ' ', 'b'}));
  EXPECT_EQ(tokenizer.encode("a <r> \t<l>b"), (Ids{'a', ' ', 257, 256, 'b'}));
  EXPECT_EQ(tokenizer.encode("word"), Ids{258});
  EXPECT_EQ(tokenizer.encode("(word)"), (Ids{'(', 258, ')'}));
  for (const char* text : {"words", "7word", "word_", "word\u0301", "\u5b57word", "word\u200d"}) {
    EXPECT_EQ(tokenizer.encode(text), bytes(text)) << text;
  }
}

// The ids are those of Hugging Face's library; for "a<x>   b" it fails.
TEST(BpeTokenizerTest, AnAddedTokenOfNothingButTakenWhiteSpaceIsLeftOut) {
  Json json = small_tokenizer();
  add_token(json, "<x>", false, {"rstrip"});
  add_token(json, "  ", false, {"lstrip"});
  add_token(json, " y", false, {"lstrip"});
  const BpeTokenizer tokenizer = made(json);
  EXPECT_EQ(tokenizer.encode("a<x>  b"), (Ids{'a', 256, 'b'}));
  EXPECT_EQ(tokenizer.encode("a<x>   b"), (Ids{'a', 256, 'b'}));
  EXPECT_EQ(tokenizer.encode("a<x>     b"), (Ids{'a', 256, 'b'}));
  EXPECT_EQ(tokenizer.encode("<x>     "), Ids{256});
  EXPECT_EQ(tokenizer.encode("a<x>  <x>  "), (Ids{'a', 256, 256}));
  EXPECT_EQ(tokenizer.encode("a<x> y"), (Ids{'a', 256, 258}));
  EXPECT_EQ(tokenizer.encode("a     b"), (Ids{'a', 257, 257, ' ', 'b'}));
}

TEST(BpeTokenizerTest, AddedTokensMustBeUtf8) {
  for (const bool normalized : {false, true}) {
    BpeTokenizer::Parts parts;
    parts.entries = {{"\xc3", 0, false}};
    parts.added = {{.content = "\xc3", .normalized = normalized}};
    parts.nfc = true;
    const Result<BpeTokenizer> tokenizer = BpeTokenizer::create(std::move(parts));
    ASSERT_FALSE(tokenizer.ok());
    EXPECT_EQ(tokenizer.error().message(), "added token '?' is not UTF-8");
  }
}

TEST(BpeTokenizerTest, NormalizedTokensAreFoundInNormalisedText) {
  Json json = small_tokenizer();
  json["normalizer"] = {{"type", "NFC"}};
  add_token(json, "caf\u00e9", false, {"normalized"});
  add_token(json, "th\u00e9", false);
  const BpeTokenizer tokenizer = made(json);
  EXPECT_EQ(tokenizer.encode("cafe\u0301"), Ids{256});
  EXPECT_EQ(tokenizer.encode("the\u0301"), bytes("th\u00e9"));
  EXPECT_EQ(tokenizer.encode("th\u00e9"), Ids{257});
}

TEST(BpeTokenizerTest, APatternThatTakesTooLongIsAnError) {
  Json json = small_tokenizer();
  json["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Split"}, {"pattern", {{"Regex", "(?:a+)+[bc]"}}}, {"behavior", "Isolated"}},
        {{"type", "ByteLevel"}, {"use_regex", false}, {"add_prefix_space", false}}}}};
  const BpeTokenizer tokenizer = made(json);
  EXPECT_EQ(tokenizer.encode("aab"), bytes("aab"));
  const Result<Ids> ids = tokenizer.encode(std::string(100, 'a'), EncodeOptions());
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(ids.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(ids.error().message(),
            "the tokenizer's pattern takes too many steps for this text of 100 bytes");
  EXPECT_THROW((void)tokenizer.encode(std::string(100, 'a')), Error);
}

TEST(BpeTokenizerTest, ManyThreadsMayUseOne) {
  const BpeTokenizer tokenizer = made(small_tokenizer({{"a", "b"}, {"ab", "ab"}}));
  const std::string text = "abab ab's 12\u00e9 abab";
  const Ids expected = tokenizer.encode(text);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (int& count : wrong) {
    threads.emplace_back([&tokenizer, &text, &expected, &count] {
      for (int i = 0; i < 200; ++i) {
        count += tokenizer.encode(text) == expected ? 0 : 1;
        count += tokenizer.decode(expected) == text ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST(StreamingDecoderTest, ACharacterComesWhenItIsWhole) {
  const BpeTokenizer tokenizer = made(small_tokenizer());
  StreamingDecoder stream(tokenizer, /*skip_special_tokens=*/true);
  EXPECT_EQ(stream.push('a'), "a");
  EXPECT_EQ(stream.push(0xf0), "");
  EXPECT_EQ(stream.push(0x9f), "");
  EXPECT_EQ(stream.push(0x98), "");
  EXPECT_EQ(stream.push(999), "");
  EXPECT_EQ(stream.push(0x80), "\U0001f600");
  EXPECT_EQ(stream.push(0xe2), "");
  EXPECT_EQ(stream.push('z'), "\ufffdz");
  EXPECT_EQ(stream.push(0xe2), "");
  EXPECT_EQ(stream.push(0x82), "");
  EXPECT_EQ(stream.finish(), "\ufffd");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.push('b'), "b");
}

TEST(StreamingDecoderTest, PiecesAreValidAndMakeTheWhole) {
  const BpeTokenizer tokenizer = made(small_tokenizer());
  internal::RandomSource random(23);
  for (int round = 0; round < 2'000; ++round) {
    Ids ids;
    // High bytes, so that there are characters, whole and not.
    for (std::uint64_t i = random.next() % 12; i > 0; --i) {
      ids.push_back(static_cast<std::int64_t>(0x70 + random.next() % 0x90));
    }
    StreamingDecoder stream(tokenizer, /*skip_special_tokens=*/false);
    std::string pieces;
    for (const std::int64_t id : ids) {
      const std::string piece = stream.push(id);
      ASSERT_EQ(lossy_utf8(piece), piece);
      pieces += piece;
    }
    ASSERT_EQ(pieces + stream.finish(), tokenizer.decode_text(ids, false));
  }
}

}  // namespace
}  // namespace tinkex::tokenizers
