#include "tinkex/tensor_data.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
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

TEST(TensorDataTest, AShapeOfAnyNumberOfDimensionsIsKeptByCopiesAndMoves) {
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{6}, {2, 3}, {1, 2, 3}, {3, 2, 1, 1}, {6, 0, 0, 0, 0}}) {
    const std::vector<float> values(shape.size() < 5 ? 6 : 0, 1.0f);
    TensorData made = TensorData::from(values, shape);
    const TensorData copied = made;
    EXPECT_EQ(copied.shape(), shape);
    const TensorData moved = std::move(made);
    EXPECT_EQ(moved.shape(), shape);
    EXPECT_FALSE(moved.is_sparse());
    made = TensorData::from(std::vector<float>{1, 2}, {1, 2});
    EXPECT_EQ(made.shape(), (Shape{1, 2}));
    EXPECT_EQ(copied.shape(), shape);
  }
  EXPECT_EQ(TensorData().shape(), Shape{0});
  const float scalar = 3;
  EXPECT_TRUE(TensorData::view(&scalar, DType::kFloat32, {}).shape().empty());
}

TEST(TensorDataTest, ASparseArrayHasTheShapeOfTheDenseOne) {
  const TensorData made = TensorData::sparse_csr(TensorData::from(std::vector<float>{1, 2}),
                                                 {0, 1, 1, 2}, {4, 0}, {3, 5})
                              .value();
  const TensorData sparse = made;
  EXPECT_TRUE(sparse.is_sparse());
  EXPECT_EQ(sparse.shape(), (Shape{3, 5}));
  EXPECT_EQ(sparse.size(), 2u);
  EXPECT_TRUE(std::ranges::equal(sparse.crow_indices(), Shape{0, 1, 1, 2}));
  EXPECT_TRUE(std::ranges::equal(sparse.col_indices(), Shape{4, 0}));
}

TEST(TensorDataTest, ASparseArrayMayHaveNoRows) {
  const TensorData sparse =
      TensorData::sparse_csr(TensorData::from(std::vector<float>{}), {0}, {}, {0, 5}).value();
  EXPECT_TRUE(sparse.is_sparse());
  EXPECT_EQ(sparse.shape(), (Shape{0, 5}));
  EXPECT_EQ(sparse.crow_indices().size(), 1u);
}

TEST(TensorDataTest, ADenseArrayHasNoIndicesHoweverManyDimensions) {
  for (const std::vector<std::int64_t>& shape : {std::vector<std::int64_t>{2}, {2, 1, 1}}) {
    const TensorData dense = TensorData::from(std::vector<float>{1, 2}, shape);
    EXPECT_FALSE(dense.is_sparse());
    EXPECT_TRUE(dense.crow_indices().empty());
    EXPECT_TRUE(dense.col_indices().empty());
  }
}

TEST(TensorDataTest, ValuesOfManyDimensionsTakeTheShapeOfTheSparseArray) {
  const TensorData sparse =
      TensorData::sparse_csr(TensorData::from(std::vector<float>{1, 2}, {2, 1, 1}), {0, 2}, {0, 3},
                             {1, 4})
          .value();
  EXPECT_TRUE(sparse.is_sparse());
  EXPECT_EQ(sparse.shape(), (Shape{1, 4}));
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
