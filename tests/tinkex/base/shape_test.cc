#include "tinkex/base/shape.h"

#include <gtest/gtest.h>

#include <limits>

namespace tinkex::internal {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

TEST(ShapeTest, TheElementsOfAnArrayAreCounted) {
  EXPECT_EQ(element_count({}), 1u);
  EXPECT_EQ(element_count({2, 3}), 6u);
  EXPECT_EQ(element_count({kMost, 0}), 0u);
}

TEST(ShapeTest, WhatCannotBeCountedHasNoCount) {
  EXPECT_EQ(element_count({2, -1}), std::nullopt);
  EXPECT_EQ(element_count({kMost, 3}), std::nullopt);
  EXPECT_EQ(element_count({0, std::int64_t{1} << 62, 8}), std::nullopt);
}

TEST(ShapeTest, ALongShapeIsCutInText) {
  EXPECT_EQ(shape_text({}), "[]");
  EXPECT_EQ(shape_text({2, -3}), "[2, -3]");
  EXPECT_EQ(shape_text(std::vector<std::int64_t>(17, 1)),
            "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ...]");
}

}  // namespace
}  // namespace tinkex::internal
