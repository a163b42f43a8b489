#include <cmath>
#include <limits>
#include <stdexcept>

#include "tests/tinkex/wire/wire_values.h"
#include "tinkex/wire/base64.h"
#include "tinkex/wire/boundary.h"
#include "tinkex/wire/pack.h"

namespace tinkex::wire {
namespace {

TEST(Base64Test, MatchesRfc4648) {
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) {
    std::string encoded(base64_size(bytes.size()), '\0');
    base64_encode(bytes, encoded.data());
    EXPECT_EQ(encoded, text);
    EXPECT_EQ(base64_decode(text), bytes);
  }
}

TEST(Base64Test, AnythingElseIsRefused) {
  for (const char* text : {"Z", "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9\n", "Zm9-"}) {
    EXPECT_EQ(base64_decode(text), std::nullopt) << text;
  }
}

TEST(BoundaryTest, AnExceptionThatNobodyForesawIsADefectAndSaysWhoThrewWhat) {
  ByteBuffer body;
  const Status encoded = encode_guarded(body, [&body] {
    body.append("half");
    throw std::length_error("too long");
  });
  ASSERT_FALSE(encoded);
  EXPECT_EQ(encoded.error().code(), ErrorCode::kInternal);
  EXPECT_EQ(encoded.error().message(), "the encoder threw: too long");
  EXPECT_EQ(body.size(), 0u);
  const auto decoded = decode_guarded([]() -> int { throw std::out_of_range("no such element"); });
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code(), ErrorCode::kInternal);
  EXPECT_EQ(decoded.error().message(), "the decoder threw: no such element");
}

// Around the block length, to odd addresses.
TEST(PackTest, EveryLengthAndAlignmentGivesTheSameWords) {
  for (const std::size_t length : {0, 1, 127, 128, 129, 255, 256, 300}) {
    std::vector<std::int64_t> tokens(length);
    for (std::size_t i = 0; i < length; ++i)
      tokens[i] = static_cast<std::int64_t>(i * 7'158'277 % 0x7fff'ffff);
    const TensorData tensor = TensorData::from(tokens);
    for (const std::size_t shift : {0, 1, 3}) {
      std::vector<char> out(shift + length * 4);
      EXPECT_TRUE(pack_tokens(tensor, out.data() + shift));
      for (std::size_t i = 0; i < length; ++i) {
        std::int32_t word = 0;
        std::memcpy(&word, out.data() + shift + i * 4, 4);
        ASSERT_EQ(word, tokens[i]);
      }
    }
  }
}

TEST(PackTest, BadTokenIsNoticedAtEveryPosition) {
  for (std::size_t at = 0; at < 300; ++at) {
    std::vector<std::int64_t> tokens(300, 1);
    tokens[at] = std::numeric_limits<std::int64_t>::min();
    const TensorData tensor = TensorData::from(std::move(tokens));
    std::vector<char> out(300 * 4);
    EXPECT_FALSE(pack_tokens(tensor, out.data()));
    const std::optional<BadToken> bad = find_bad_token(tensor);
    ASSERT_TRUE(bad);
    EXPECT_EQ(bad->position, at);
  }
}

// Spec T5.
TEST(SizeTest, T5_BytesFollowTheApisRule) {
  Datum datum = text_datum({1, 2, 3});
  EXPECT_EQ(estimate_bytes(datum), 12u);
  datum.model_input.chunks.emplace_back(ImageChunk{"12345", "png", 100});
  datum.model_input.chunks.emplace_back(ImageAssetPointerChunk{"1234567", "png", 9});
  EXPECT_EQ(estimate_bytes(datum), 24u);
  datum.loss_fn_inputs = {
      {"target_tokens",
       TensorData::from(std::vector<std::int32_t>{1, 2, 3})},              // 8 each on the wire
      {"weights", TensorData::from(std::vector<std::int64_t>{1, 0, 1})}};  // 4 each
  EXPECT_EQ(estimate_bytes(datum), 24u + 24u + 12u);
  datum.loss_fn_inputs = {
      {"weights",
       TensorData::sparse_csr(TensorData::from(std::vector<float>{1.0f}), {0, 0, 1}, {4}, {2, 5})
           .value()}};
  EXPECT_EQ(estimate_bytes(datum), 24u + 4u + 8u * 3u + 8u);
}

// Spec T5.
TEST(SizeTest, T5_NumbersAreTokensAndElements) {
  Datum datum = text_datum({1, 2, 3}, {{"a", TensorData::from(std::vector<float>(6), {2, 3})},
                                       {"b", TensorData::from(std::vector<float>(4))}});
  EXPECT_EQ(count_numbers(datum), 13u);
  datum.model_input.chunks.emplace_back(ImageChunk{"12345", "png", 100});
  EXPECT_EQ(count_numbers(datum), 113u);
  datum.model_input.chunks.emplace_back(ImageChunk{"12345", "png", std::nullopt});
  EXPECT_EQ(count_numbers(datum), 118u);
}

}  // namespace
}  // namespace tinkex::wire
