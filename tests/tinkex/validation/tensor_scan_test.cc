#include "tinkex/validation/tensor_scan.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

namespace tinkex::internal {
namespace {

template <class T>
TensorData view_of(const std::vector<T>& values, DType dtype) {
  return TensorData::view(values.data(), dtype, {static_cast<std::int64_t>(values.size())});
}

/// A tensor of `size` times `good`, with `bad` at `position`; where the scan says it is.
template <class T, class Find>
std::optional<std::size_t> found(Find find, DType dtype, std::size_t size, T good,
                                 std::size_t position, T bad) {
  std::vector<T> values(size, good);
  values[position] = bad;
  return find(view_of(values, dtype));
}

TEST(TensorScanTest, FindsABadElementAtEveryPositionOfABlock) {
  const auto not_a_token = [](const TensorData& tokens) { return find_not_a_token(tokens); };
  for (std::size_t position = 0; position < 200; ++position) {
    EXPECT_EQ(found<float>(find_not_finite, DType::kFloat32, 200, 1, position, NAN), position);
    EXPECT_EQ(found<std::int64_t>(not_a_token, DType::kInt64, 200, 1, position, -1), position);
  }
}

TEST(TensorScanTest, FindsTheFirstOfSeveral) {
  std::vector<float> values(300, 0.0f);
  values[130] = values[131] = values[299] = INFINITY;
  EXPECT_EQ(find_not_finite(view_of(values, DType::kFloat32)), 130U);
}

TEST(TensorScanTest, LargestFiniteValuesPassAndTheNextDoNot) {
  const auto float32 = [](float value) {
    return find_not_finite(view_of(std::vector<float>{value}, DType::kFloat32)).has_value();
  };
  EXPECT_FALSE(float32(std::numeric_limits<float>::max()));
  EXPECT_FALSE(float32(std::numeric_limits<float>::lowest()));
  EXPECT_FALSE(float32(-0.0f));
  EXPECT_TRUE(float32(-INFINITY));
  EXPECT_TRUE(float32(-NAN));

  const auto bits16 = [](std::uint16_t bits, DType dtype) {
    return find_not_finite(view_of(std::vector<std::uint16_t>{bits}, dtype)).has_value();
  };
  EXPECT_FALSE(bits16(0x7f7f, DType::kBFloat16));
  EXPECT_FALSE(bits16(0xff7f, DType::kBFloat16));
  EXPECT_TRUE(bits16(0x7f80, DType::kBFloat16));
  EXPECT_TRUE(bits16(0xffc0, DType::kBFloat16));
  EXPECT_FALSE(bits16(0x7bff, DType::kFloat16));
  EXPECT_TRUE(bits16(0x7c00, DType::kFloat16));
  EXPECT_TRUE(bits16(0xfe00, DType::kFloat16));
}

TEST(TensorScanTest, Float64CountsAsWhatItBecomesAsFloat32) {
  const auto bad = [](double value) {
    return find_not_finite(view_of(std::vector<double>{value}, DType::kFloat64)).has_value();
  };
  const double halfway = 0x1.ffffffp127;
  EXPECT_TRUE(std::isinf(static_cast<float>(halfway)));
  EXPECT_TRUE(bad(halfway));
  EXPECT_FALSE(std::isinf(static_cast<float>(std::nextafter(halfway, 0))));
  EXPECT_FALSE(bad(std::nextafter(halfway, 0)));
  EXPECT_TRUE(bad(-1e300));
  EXPECT_TRUE(bad(NAN));
  EXPECT_FALSE(bad(1e-320));
}

TEST(TensorScanTest, Property_Float64AgreesWithTheConversion) {
  ASSERT_TRUE(rc::check([](std::uint64_t bits) {
    const auto value = std::bit_cast<double>(bits);
    const bool bad =
        find_not_finite(view_of(std::vector<double>{value}, DType::kFloat64)).has_value();
    RC_ASSERT(bad == !std::isfinite(static_cast<float>(value)));
  }));
}

TEST(TensorScanTest, TokenRangeForEveryIntegerType) {
  const auto bad = [](auto value, DType dtype) {
    return find_not_a_token(view_of(std::vector<decltype(value)>{value}, dtype)).has_value();
  };
  EXPECT_FALSE(bad(std::int64_t{0}, DType::kInt64));
  EXPECT_FALSE(bad(kTokenLimit - 1, DType::kInt64));
  EXPECT_TRUE(bad(kTokenLimit, DType::kInt64));
  EXPECT_TRUE(bad(std::int64_t{-100}, DType::kInt64));
  EXPECT_TRUE(bad(std::numeric_limits<std::int64_t>::min(), DType::kInt64));
  EXPECT_FALSE(bad(std::numeric_limits<std::int32_t>::max(), DType::kInt32));
  EXPECT_TRUE(bad(std::int32_t{-1}, DType::kInt32));
  EXPECT_TRUE(bad(std::int16_t{-1}, DType::kInt16));
  EXPECT_FALSE(bad(std::int16_t{32767}, DType::kInt16));
  EXPECT_TRUE(bad(std::int8_t{-1}, DType::kInt8));
  EXPECT_FALSE(bad(std::uint8_t{255}, DType::kUInt8));
}

TEST(TensorScanTest, Property_AnyLimitCutsExactly) {
  ASSERT_TRUE(rc::check([](std::int64_t wide, std::int32_t value, std::uint8_t small, bool low) {
    const std::int64_t limit = *rc::gen::inRange<std::int64_t>(1, low ? 300 : kTokenLimit);
    const auto bad = [limit](auto token, DType dtype) {
      const std::vector<decltype(token)> values{token};
      return find_not_a_token(view_of(values, dtype), limit).has_value();
    };
    RC_ASSERT(bad(wide, DType::kInt64) == (wide < 0 || wide >= limit));
    RC_ASSERT(bad(limit - 1, DType::kInt64) == false);
    RC_ASSERT(bad(limit, DType::kInt64) == true);
    RC_ASSERT(bad(value, DType::kInt32) == (value < 0 || value >= limit));
    RC_ASSERT(bad(small, DType::kUInt8) == (small >= limit));
  }));
}

TEST(TensorScanTest, EmptyTensorsAreFine) {
  EXPECT_EQ(find_not_finite(TensorData()), std::nullopt);
  EXPECT_EQ(find_not_a_token(TensorData::from(std::vector<std::int64_t>{})), std::nullopt);
  EXPECT_TRUE(is_readable(TensorData()));
}

TEST(TensorScanTest, UnreadableMemoryIsNoticed) {
  EXPECT_FALSE(is_readable(TensorData::view(nullptr, DType::kFloat32, {3})));
  EXPECT_TRUE(is_readable(TensorData::view(nullptr, DType::kFloat32, {0})));
}

}  // namespace
}  // namespace tinkex::internal
