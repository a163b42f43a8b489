#include "tinkex/tensor_data.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "tinkex/error.h"

namespace tinkex {
namespace {

std::string complaint(const std::function<void()>& make) {
  try {
    make();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.message();
  }
  return "(made)";
}

TEST(TensorDataTest, AVectorIsOneDimensionalUnlessAShapeFits) {
  EXPECT_EQ(TensorData::from(std::vector<float>{1, 2, 3}).shape(), std::vector<std::int64_t>{3});
  const TensorData matrix = TensorData::from(std::vector<std::int64_t>{1, 2, 3, 4, 5, 6}, {2, 3});
  EXPECT_EQ(matrix.size(), 6u);
  EXPECT_EQ(matrix.dtype(), DType::kInt64);
  EXPECT_EQ(TensorData::from(std::vector<float>{}, {0, 4}).size(), 0u);
}

TEST(TensorDataTest, AShapeThatDoesNotFitTheValuesIsRefused) {
  const std::vector<float> values{1, 2, 3};
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{1000}, {2}, {3, 2}, {0}, {std::int64_t{1} << 62, 4}}) {
    EXPECT_NE(
        complaint([&] { (void)TensorData::from(values, shape); }).find("TensorData: the shape"),
        std::string::npos);
  }
  EXPECT_EQ(complaint([&] { (void)TensorData::from(values, {1000}); }),
            "TensorData: the shape [1000] does not fit 3 values");
}

TEST(TensorDataTest, AViewOfMoreElementsThanCanBeCountedIsRefused) {
  const std::array<float, 1> memory{};
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{-1}, {2, -3}, {std::int64_t{1} << 62, 16}}) {
    EXPECT_NE(complaint([&] {
                (void)TensorData::view(memory.data(), DType::kFloat32, shape);
              }).find("negative size, or more elements"),
              std::string::npos);
  }
}

TEST(TensorDataTest, ElementsAreConvertedIntoMemoryThatIsThere) {
  const std::array<std::int32_t, 3> ids{7, -8, 9};
  const TensorData tensor = TensorData::view(ids.data(), DType::kInt32, {3});
  std::array<std::int64_t, 4> ints{1, 1, 1, 1};
  std::array<float, 4> floats{1, 1, 1, 1};
  tensor.copy_to(ints.data());
  tensor.copy_to(floats.data());
  EXPECT_EQ(ints, (std::array<std::int64_t, 4>{7, -8, 9, 1}));
  EXPECT_EQ(floats, (std::array<float, 4>{7, -8, 9, 1}));
}

TEST(TensorDataTest, NumbersBeyondTheRangeBecomeItsNearestEnd) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
  const auto ints =
      TensorData::from(std::vector<float>{1.9f, -1.9f, 1e30f, -1e30f, inf, -inf, nan, 0x1p63f})
          .to_ints();
  EXPECT_EQ(ints, (std::vector<std::int64_t>{1, -1, kMost, kLeast, kMost, kLeast, 0, kMost}));
}

TEST(TensorDataTest, SixteenBitFormatsWidenExactly) {
  const std::array<std::uint16_t, 4> halves{0x3c00, 0xc000, 0x0001, 0x7c00};
  const auto floats = TensorData::view(halves.data(), DType::kFloat16, {4}).to_floats();
  EXPECT_EQ(floats, (std::vector<float>{1, -2, 0x1p-24f, std::numeric_limits<float>::infinity()}));
  const std::array<std::uint16_t, 2> brains{0x3f80, 0xc000};
  EXPECT_EQ(TensorData::view(brains.data(), DType::kBFloat16, {2}).to_floats(),
            (std::vector<float>{1, -2}));
}

}  // namespace
}  // namespace tinkex
