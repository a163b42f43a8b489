// What testdata/make_gguf.py wrote with llama.cpp's own Python package is read as it means it.

#include "torch_ext/local/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/torch_ext/local/gguf_writer.h"

namespace tinkex::torch_ext::local::testing {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kTypes[] = "tests/torch_ext/local/testdata/types.gguf";

std::vector<float> widened(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.find(name);
  if (tensor == nullptr) throw std::runtime_error("no tensor " + name);
  std::vector<float> numbers(static_cast<std::size_t>(tensor->elements()));
  file.widen(*tensor, numbers).value();
  return numbers;
}

/// The same bits, or a NaN in both.
bool is_same(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) ||
         (std::isnan(a) && std::isnan(b));
}

TEST(GgufTest, EveryTypeOfMetadataIsRead) {
  const auto file = GgufFile::open(kTypes).value();
  EXPECT_EQ(file->keys().size(), 17U);
  EXPECT_EQ(file->integer("a.uint8").value(), 250);
  EXPECT_EQ(file->integer("a.int8").value(), -5);
  EXPECT_EQ(file->integer("a.uint16").value(), 65000);
  EXPECT_EQ(file->integer("a.int16").value(), -300);
  EXPECT_EQ(file->integer("a.uint32").value(), 4000000000);
  EXPECT_EQ(file->integer("a.int32").value(), -70000);
  EXPECT_EQ(file->integer("a.uint64").value(), std::int64_t{1} << 40);
  EXPECT_EQ(file->integer("a.int64").value(), -(std::int64_t{1} << 40));
  EXPECT_EQ(file->number("a.float32").value(), 0.5);
  EXPECT_EQ(file->number("a.float64").value(), 0.1);
  EXPECT_TRUE(file->flag("a.bool").value());
  EXPECT_EQ(file->text("a.string").value(), "Grüße");
  EXPECT_THAT(file->texts("a.strings").value(), ElementsAre("", "Ġ t", "x"));
  EXPECT_THAT(file->integers("a.int32s").value(), ElementsAre(3, -1, 1 << 30));
  EXPECT_THAT(file->numbers("a.float32s").value(), ElementsAre(1.5, -0.25));
  EXPECT_TRUE(file->contains("a.bools"));
  EXPECT_FALSE(file->contains("a.bool8"));
}

TEST(GgufTest, EveryTypeIsWidenedAsTheReferenceDoesIt) {
  const auto file = GgufFile::open(kTypes).value();
  for (const char* name : {"f16", "bf16", "q4_0", "q4_1", "q8_0"}) {
    const std::vector<float> own = widened(*file, name);
    const std::vector<float> expected = widened(*file, std::string(name) + ".expected");
    ASSERT_EQ(own.size(), expected.size()) << name;
    for (std::size_t i = 0; i < own.size(); ++i) {
      EXPECT_TRUE(is_same(own[i], expected[i]))
          << name << " " << i << ": " << own[i] << " is not " << expected[i];
    }
  }
}

TEST(GgufTest, ShapesHaveTheirSlowestDimensionFirst) {
  const auto file = GgufFile::open(kTypes).value();
  EXPECT_THAT(file->find("f32")->shape, ElementsAre(2, 3, 4));
  EXPECT_EQ(file->find("f32")->elements(), 24);
  EXPECT_THAT(file->find("q4_1")->shape, ElementsAre(3, 64));
  EXPECT_EQ(file->tensors().front().name, "f32");
  EXPECT_EQ(file->find("f33"), nullptr);
}

TEST(GgufTest, NumbersAreWidenedFromAnyAddress) {
  GgufWriter file;
  file.alignment = 1;
  file.value("general.alignment", GgufKind::kUint32, raw(1U));
  file.tensor("odd", {1}, 24, "x");
  file.counting_tensor("f32", {3});
  file.tensor("scalar", {}, 0, raw(7.5F));
  const auto read = parsed(file.bytes()).value();
  EXPECT_THAT(widened(*read, "f32"), ElementsAre(1, 2, 3));
  EXPECT_THAT(widened(*read, "scalar"), ElementsAre(7.5F));
}

TEST(GgufTest, AFileOfVersionTwoOrWithoutTensorsIsRead) {
  GgufWriter file;
  file.version = 2;
  file.text("a", "b");
  const auto read = parsed(file.bytes()).value();
  EXPECT_EQ(read->text("a").value(), "b");
  EXPECT_TRUE(read->tensors().empty());
}

TEST(GgufTest, TextsLiveAsLongAsTheFile) {
  auto file = GgufFile::open(kTypes).value();
  const std::string_view text = file->text("a.string").value();
  const auto other = file;
  file.reset();
  EXPECT_EQ(text, "Grüße");
}

TEST(GgufTest, ErrorsNameFileKeyAndType) {
  GgufWriter writer;
  writer.text("name", "x").uint32("size", 5).texts("list", {"a"});
  writer.value("huge", GgufKind::kUint64, raw(std::uint64_t{1} << 63));
  writer.array("huges", GgufKind::kUint64, 1, raw(std::uint64_t{1} << 63));
  const auto file = parsed(writer.bytes()).value();
  const auto message = [](const auto& result) {
    EXPECT_FALSE(result.ok());
    return result ? std::string() : result.error().message();
  };
  EXPECT_EQ(message(file->integer("none")), "GGUF file 'test.gguf': metadata 'none' is missing");
  EXPECT_EQ(message(file->integer("name")),
            "GGUF file 'test.gguf': metadata 'name' has type string, expected an integer below "
            "2^63");
  EXPECT_THAT(message(file->integer("huge")), HasSubstr("'huge' has type uint64"));
  EXPECT_THAT(message(file->integers("huges")), HasSubstr("'huges' has type array of uint64"));
  EXPECT_THAT(message(file->integers("size")), HasSubstr("'size' has type uint32"));
  EXPECT_THAT(message(file->number("size")), HasSubstr("expected float32 or float64"));
  EXPECT_THAT(message(file->numbers("list")), HasSubstr("'list' has type array of string"));
  EXPECT_THAT(message(file->flag("size")), HasSubstr("expected bool"));
  EXPECT_THAT(message(file->text("list")), HasSubstr("expected string"));
  EXPECT_THAT(message(file->texts("name")), HasSubstr("expected array of string"));
}

TEST(GgufTest, ATypeThatCannotBeWidenedIsNamed) {
  GgufWriter writer;
  writer.tensor("k", {2, 256}, 12, std::string(288, '\0'));
  const auto file = parsed(writer.bytes()).value();
  std::vector<float> out(512);
  const Status status = file->widen(file->tensors()[0], out);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(),
            "GGUF file 'test.gguf': tensor 'k' has type Q4_K, which cannot be read; expected F32, "
            "F16, Q4_0, Q4_1, Q8_0, BF16");
}

TEST(GgufTest, ABufferOfAnotherSizeIsRefused) {
  const auto file = GgufFile::open(kTypes).value();
  std::vector<float> out(23);
  const Status status = file->widen(*file->find("f32"), out);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message(), HasSubstr("tensor 'f32' has 24 elements, not 23"));
}

TEST(GgufTest, TablesAreReadToTheirEndAndToALimit) {
  const fs::path path = fs::path(::testing::TempDir()) / "tables.gguf";
  const auto write = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    return GgufFile::open(path);
  };
  const std::string filling(std::size_t{9} << 20, 'x');  // More than is read at first.
  GgufWriter writer;
  writer.text("filling", filling).uint32("last", 7).counting_tensor("t", {100'000});
  const auto file = write(writer.bytes()).value();
  EXPECT_EQ(file->integer("last").value(), 7);
  EXPECT_EQ(file->text("filling").value(), filling);
  const std::vector<float> numbers = widened(*file, "t");  // More than is read at once.
  EXPECT_EQ(numbers.front(), 1);
  EXPECT_EQ(numbers[65'536], 65'537);
  EXPECT_EQ(numbers.back(), 100'000);

  const std::uint64_t hole = std::uint64_t{1} << 30;
  ASSERT_FALSE(write(GgufWriter().array("k", GgufKind::kUint8, hole, "").bytes()));
  fs::resize_file(path, hole + 1'000);
  const auto huge = GgufFile::open(path);
  fs::remove(path);
  ASSERT_FALSE(huge);
  EXPECT_THAT(huge.error().message(), HasSubstr("tables.gguf': its tables take more than 128 MiB"));
}

TEST(GgufTest, WhatIsNoRegularFileIsRefused) {
  const fs::path folder = fs::path(::testing::TempDir()) / "gguf_test";
  fs::create_directories(folder);
  std::ofstream(folder / "empty.gguf").flush();
  ::mkfifo((folder / "pipe.gguf").c_str(), 0600);
  const auto message = [&](const fs::path& path) {
    const auto file = GgufFile::open(path);
    EXPECT_FALSE(file) << path;
    EXPECT_EQ(file.error().code(), ErrorCode::kIo);
    return file.error().message();
  };
  EXPECT_THAT(message(folder / "none.gguf"), AllOf(HasSubstr("cannot open"), HasSubstr("none")));
  EXPECT_THAT(message(folder / "empty.gguf"), HasSubstr("does not begin with 'GGUF'"));
  EXPECT_THAT(message(folder), HasSubstr("no regular file"));
  EXPECT_THAT(message(folder / "pipe.gguf"), HasSubstr("no regular file"));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
