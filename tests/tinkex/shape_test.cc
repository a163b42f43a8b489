#include "tinkex/shape.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <ranges>
#include <span>
#include <vector>

#include "tinkex/tensor_data.h"

namespace tinkex {
namespace {

std::vector<std::int64_t> extents_of(Shape shape) { return {shape.begin(), shape.end()}; }

TEST(ShapeTest, ItIsMadeFromWhateverHoldsExtents) {
  const std::vector<std::int64_t> extents{2, 3};
  const std::array<std::int64_t, 2> array{2, 3};
  const std::int64_t numbers[] = {2, 3};
  const TensorData tensor = TensorData::from(std::vector<float>(6), {2, 3});
  EXPECT_EQ(extents_of({2, 3}), extents);
  EXPECT_EQ(extents_of(extents), extents);
  EXPECT_EQ(extents_of(array), extents);
  EXPECT_EQ(extents_of(numbers), extents);
  EXPECT_EQ(extents_of(std::span<const std::int64_t>(extents)), extents);
  EXPECT_EQ(extents_of(tensor.shape()), extents);
  EXPECT_EQ(extents_of(tensor.shape().subspan(1)), std::vector<std::int64_t>{3});
  EXPECT_TRUE(extents_of({}).empty());
}

TEST(ShapeTest, ItIsEqualByItsExtentsToWhateverHoldsSome) {
  const std::vector<std::int64_t> extents{2, 3};
  const Shape shape = extents;
  EXPECT_EQ(shape, (Shape{2, 3}));
  EXPECT_EQ(shape, extents);
  EXPECT_EQ(extents, shape);
  EXPECT_EQ(shape, (std::array<std::int64_t, 2>{2, 3}));
  EXPECT_EQ(shape.subspan(1), Shape{3});
  EXPECT_NE(shape, (Shape{3, 2}));
  EXPECT_NE(shape, (Shape{2, 3, 1}));
}

TEST(ShapeTest, TrailingIsTheShapeOfOneElementOfTheFirstDimension) {
  EXPECT_EQ(Shape({2, 3, 4}).trailing(), (Shape{3, 4}));
  EXPECT_EQ(Shape({2}).trailing(), Shape{});
  EXPECT_EQ(Shape{}.trailing(), Shape{});
}

TEST(ShapeTest, AnIteratorOutlivesTheView) {
  static_assert(std::ranges::view<Shape> && std::ranges::borrowed_range<Shape>);
  const TensorData tensor = TensorData::from(std::vector<float>(6), {2, 3});
  EXPECT_EQ(*std::ranges::find(tensor.shape(), 3), 3);
}

}  // namespace
}  // namespace tinkex
