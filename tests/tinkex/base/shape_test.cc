#include "tinkex/base/shape.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace tinkex::internal {
namespace {

using Ints = std::vector<std::int64_t>;

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

TEST(ShapeTest, TheElementsOfAnArrayAreCounted) {
  EXPECT_EQ(element_count({}), 1u);
  EXPECT_EQ(element_count(Ints{2, 3}), 6u);
  EXPECT_EQ(element_count(Ints{kMost, 0}), 0u);
}

TEST(ShapeTest, WhatCannotBeCountedHasNoCount) {
  EXPECT_EQ(element_count(Ints{2, -1}), std::nullopt);
  EXPECT_EQ(element_count(Ints{kMost, 3}), std::nullopt);
  EXPECT_EQ(element_count(Ints{0, std::int64_t{1} << 62, 8}), std::nullopt);
}

TEST(ShapeTest, ALongShapeIsCutInText) {
  EXPECT_EQ(shape_text({}), "[]");
  EXPECT_EQ(shape_text(Ints{2, -3}), "[2, -3]");
  EXPECT_EQ(shape_text(Ints(17, 1)), "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ...]");
}

}  // namespace
}  // namespace tinkex::internal
