// Files that lie about themselves are refused by name, and none of them is read beyond its end
// (which the address sanitizer sees).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/torch_ext/local/gguf_writer.h"
#include "torch_ext/local/gguf.h"
#include "torch_ext/local/gguf_config.h"
#include "torch_ext/local/gguf_weights.h"

namespace tinkex::torch_ext::local::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::uint64_t kHuge = std::uint64_t{1} << 63;
const std::string kRow = raw(std::vector<float>(8, 1.0F));

/// What the reader says about these bytes.
std::string refusal(std::string_view bytes) {
  const auto file = parsed(bytes);
  if (file) return "accepted";
  EXPECT_EQ(file.error().code(), ErrorCode::kIo);
  EXPECT_THAT(file.error().message(), StartsWith("not a valid GGUF file: 'test.gguf': "));
  return file.error().message();
}
std::string refusal(const GgufWriter& file) { return refusal(file.bytes()); }

/// Does with a file whatever can be done.
void use(const GgufFile& file) {
  std::vector<float> numbers;
  for (const GgufTensor& tensor : file.tensors()) {
    numbers.resize(static_cast<std::size_t>(tensor.elements()));
    EXPECT_EQ(file.widen(tensor, numbers).ok(), tensor.type->widen != nullptr);
  }
  const auto config = gguf_config(file);
  if (!config) return;
  const auto weights = gguf_weights(file, *config);
  if (!weights) return;
  for (const GgufWeight& weight : *weights) {
    numbers.resize(static_cast<std::size_t>(weight.tensor->elements()));
    EXPECT_TRUE(widen(file, weight, numbers));
  }
}

TEST(GgufHostileTest, AFileThatIsCutAnywhereIsRefused) {
  GgufWriter writer = tiny_llama();
  writer.texts("tokenizer.ggml.tokens", {"a", "", "bc"});
  writer.array("nested", GgufKind::kArray, 1,
               raw(static_cast<std::uint32_t>(GgufKind::kUint8)) + raw(std::uint64_t{1}) + "x");
  const std::string bytes = writer.bytes();
  use(*parsed(bytes).value());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_NE(refusal(std::string_view(bytes).substr(0, size)), "accepted") << size;
  }
}

TEST(GgufHostileTest, AFileWithAnyByteChangedIsHandled) {
  const std::string sound = tiny_llama().bytes();
  std::string bytes = sound;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int change : {0x01, 0x80, 0xFF}) {
      bytes[i] = static_cast<char>(sound[i] ^ change);
      const auto file = parsed(bytes);
      if (file) use(**file);
    }
    bytes[i] = sound[i];
  }
}

TEST(GgufHostileTest, HeadersAreChecked) {
  GgufWriter file;
  file.magic = "GGJT";
  EXPECT_THAT(refusal(file), HasSubstr("does not begin with 'GGUF'"));
  file.magic = "GGUF";
  file.version = 1;
  EXPECT_THAT(refusal(file), HasSubstr("version is 1, expected 2 or 3"));
  file.version = 4;
  EXPECT_THAT(refusal(file), HasSubstr("version is 4, expected 2 or 3"));
  file.version = 0x03000000;
  EXPECT_THAT(refusal(file), HasSubstr("big-endian"));
  file.version = 3;
  file.tensor_count = kHuge;
  EXPECT_THAT(refusal(file), HasSubstr("too short for 0 entries of metadata and 9223372036854775808"
                                       " tensors"));
  file.tensor_count.reset();
  file.metadata_count = kHuge;
  EXPECT_THAT(refusal(file), HasSubstr("too short for 9223372036854775808 entries"));
}

TEST(GgufHostileTest, LengthsBeyondTheFileAreRefused) {
  const auto with = [](GgufKind kind, const std::string& bytes) {
    return refusal(GgufWriter().value("k", kind, bytes));
  };
  EXPECT_THAT(with(GgufKind::kText, raw(kHuge) + "x"), HasSubstr("within metadata 'k'"));
  EXPECT_THAT(with(GgufKind::kText, raw(~std::uint64_t{0}) + "x"), HasSubstr("metadata 'k'"));
  for (const GgufKind kind :
       {GgufKind::kText, GgufKind::kUint8, GgufKind::kFloat64, GgufKind::kBool, GgufKind::kArray}) {
    for (const std::uint64_t count : {std::uint64_t{2}, kHuge, kHuge / 4, ~std::uint64_t{0}}) {
      EXPECT_THAT(with(GgufKind::kArray, raw(static_cast<std::uint32_t>(kind)) + raw(count) + "x"),
                  HasSubstr("it ends at byte"));
    }
  }
  GgufWriter key;
  key.metadata_count = 1;
  EXPECT_THAT(refusal(key.bytes() + raw(kHuge) + "longer than an entry"),
              HasSubstr("within a key of the metadata"));
}

TEST(GgufHostileTest, MetadataIsChecked) {
  EXPECT_THAT(refusal(GgufWriter().uint32("k", 1).text("k", "x")), HasSubstr("'k' comes twice"));
  EXPECT_THAT(refusal(GgufWriter().value("k", 13, "xxxxxxxx")),
              HasSubstr("metadata 'k' has the unknown type 13"));
  EXPECT_THAT(refusal(GgufWriter().value("k", GgufKind::kBool, "\x02")),
              HasSubstr("neither 0 nor 1"));
  EXPECT_THAT(refusal(GgufWriter().array("k", GgufKind::kBool, 2, "\x01\x02")),
              HasSubstr("neither 0 nor 1"));
  EXPECT_THAT(refusal(GgufWriter().array("k", static_cast<GgufKind>(99), 0, "")),
              HasSubstr("unknown type 99"));
  EXPECT_THAT(refusal(GgufWriter().value(std::string(500, 'k') + "\n", 13, "xxxx")),
              AllOf(HasSubstr("kkk..."), ::testing::Not(HasSubstr("\n"))));
}

TEST(GgufHostileTest, ArraysOfArraysAreReadToALimit) {
  const auto nested = [](int depth) {
    std::string bytes;
    for (; depth > 2; --depth) {
      bytes += raw(static_cast<std::uint32_t>(GgufKind::kArray)) + raw(std::uint64_t{1});
    }
    bytes += raw(static_cast<std::uint32_t>(GgufKind::kUint8)) + raw(std::uint64_t{0});
    return refusal(GgufWriter().array("k", GgufKind::kArray, 1, bytes));
  };
  EXPECT_EQ(nested(4), "accepted");
  EXPECT_THAT(nested(5), HasSubstr("arrays lie more than 4 deep"));
  EXPECT_THAT(nested(100'000), HasSubstr("arrays lie more than 4 deep"));
}

TEST(GgufHostileTest, ArraysLongerThanAnyVocabularyAreRefused) {
  const std::uint64_t count = (std::uint64_t{1} << 24) + 1;
  GgufWriter file;
  file.array("k", GgufKind::kUint8, count, std::string(count, 'x'));
  const auto numbers = parsed(file.bytes()).value()->integers("k");
  ASSERT_FALSE(numbers);
  EXPECT_THAT(numbers.error().message(), HasSubstr("metadata 'k' has 16777217 elements, expected "
                                                   "at most 16777216"));
}

TEST(GgufHostileTest, TheAlignmentIsChecked) {
  for (const std::uint32_t alignment : {0U, 24U, 1U << 31}) {
    EXPECT_THAT(refusal(GgufWriter().uint32("general.alignment", alignment)),
                HasSubstr("'general.alignment' is not a power of two"));
  }
  EXPECT_THAT(refusal(GgufWriter().text("general.alignment", "32")), HasSubstr("power of two"));
  GgufWriter file;
  file.alignment = 64;
  file.uint32("general.alignment", 64).tensor("a", {8}, 0, kRow, 32);
  EXPECT_THAT(refusal(file), HasSubstr("tensor 'a' begins at offset 32, which is no multiple of "
                                       "64"));
}

TEST(GgufHostileTest, ShapesAndTypesAreChecked) {
  const auto with = [](std::vector<std::uint64_t> shape, std::uint32_t type) {
    return refusal(GgufWriter().tensor("t", std::move(shape), type, kRow));
  };
  EXPECT_EQ(with({2, 4}, 0), "accepted");
  EXPECT_THAT(with({1, 1, 1, 1, 8}, 0), HasSubstr("tensor 't' has 5 dimensions"));
  EXPECT_THAT(with({0}, 0), HasSubstr("tensor 't' has a dimension of 0 elements"));
  EXPECT_THAT(with({kHuge}, 0), HasSubstr("dimension of 9223372036854775808"));
  EXPECT_THAT(with({std::uint64_t{1} << 32, std::uint64_t{1} << 31}, 0), HasSubstr("a dimension"));
  EXPECT_THAT(with({8}, 4), HasSubstr("tensor 't' has the unknown type 4"));
  EXPECT_THAT(with({8}, 0xFFFFFFFF), HasSubstr("unknown type 4294967295"));
  EXPECT_THAT(with({2, 16}, 2), HasSubstr("tensor 't' of type Q4_0 has rows of 16 elements, which "
                                          "are no whole blocks of 32"));
  EXPECT_THAT(with({}, 12), HasSubstr("rows of 1 elements"));
}

TEST(GgufHostileTest, TensorsBeyondTheFileAreRefused) {
  const auto with = [](std::uint64_t elements, std::uint32_t type, std::uint64_t offset) {
    return refusal(GgufWriter().tensor("t", {elements}, type, kRow, offset));
  };
  EXPECT_EQ(with(8, 0, 0), "accepted");
  EXPECT_THAT(with(9, 0, 0), HasSubstr("tensor 't' of type F32 with 9 elements at offset 0 reaches "
                                       "beyond the file, which has 32 bytes of tensors"));
  EXPECT_THAT(with(8, 0, 32), HasSubstr("at offset 32 reaches beyond"));
  EXPECT_THAT(with(8, 0, kHuge), HasSubstr("reaches beyond"));
  EXPECT_THAT(with(8, 0, ~std::uint64_t{31}), HasSubstr("reaches beyond"));
  // As many bytes as 2^64 + 32.
  EXPECT_THAT(with((std::uint64_t{1} << 62) + 8, 0, 0), HasSubstr("reaches beyond"));
}

TEST(GgufHostileTest, TensorsThatOverlapOrComeTwiceAreRefused) {
  GgufWriter overlap;
  overlap.tensor("a", {16}, 0, kRow + kRow).tensor("b", {8}, 0, kRow, 32);
  EXPECT_THAT(refusal(overlap), HasSubstr("tensor 'a' and tensor 'b' overlap"));
  GgufWriter same;
  same.tensor("a", {8}, 0, kRow).tensor("b", {8}, 0, "", 0);
  EXPECT_THAT(refusal(same), HasSubstr("overlap"));
  GgufWriter twice;
  twice.tensor("a", {8}, 0, kRow).tensor("a", {8}, 0, kRow);
  EXPECT_THAT(refusal(twice), HasSubstr("tensor 'a' comes twice"));
  GgufWriter swapped;
  swapped.tensor("a", {8}, 0, kRow, 32).tensor("b", {8}, 0, kRow, 0);
  EXPECT_EQ(refusal(swapped), "accepted");
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
