#include "tinkex/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tinkex {
namespace {

// Spec H5.
TEST(TokenizerTest, H5_EveryByteSurvivesTheRoundTrip) {
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  const ByteTokenizer tokenizer;
  const std::vector<std::int64_t> tokens = tokenizer.encode(text);
  ASSERT_EQ(tokens.size(), 256u);
  for (std::size_t i = 0; i < tokens.size(); ++i) EXPECT_EQ(tokens[i], static_cast<int>(i));
  EXPECT_EQ(tokenizer.decode(tokens), text);
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("")), "");
}

// Spec H5.
TEST(TokenizerTest, H5_SpecialTokensGiveNoText) {
  const ByteTokenizer bytes;
  const Tokenizer& tokenizer = bytes;
  EXPECT_LT(tokenizer.eos_token(), tokenizer.vocab_size());
  const std::vector<std::int64_t> tokens{ByteTokenizer::kBeginOfText, 'h', 'i',
                                         tokenizer.eos_token(), ByteTokenizer::kPadding};
  EXPECT_EQ(tokenizer.decode(tokens), "hi");
}

}  // namespace
}  // namespace tinkex
