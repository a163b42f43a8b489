#include "tinkex/training/metrics_reduction.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tinkex::internal {
namespace {

using Json = nlohmann::json;

/// The file spells numbers that JSON does not have as texts.
double number(const Json& value) {
  return value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>();
}

Metrics metrics_of(const Json& object) {
  Metrics metrics;
  for (const auto& [name, value] : object.items()) metrics.emplace(name, number(value));
  return metrics;
}

bool same(double actual, double expected, bool exactly) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (exactly || std::isinf(expected)) return actual == expected;
  return std::fabs(actual - expected) <= 1e-12 * std::max(1.0, std::fabs(expected));
}

void expect_same(const Metrics& actual, const Metrics& expected) {
  for (const auto& [name, value] : expected) {
    const auto found = actual.find(name);
    ASSERT_NE(found, actual.end()) << name << " is missing";
    EXPECT_TRUE(same(found->second, value, name.find(":hash") != std::string::npos))
        << name << " is " << found->second << ", expected " << value;
  }
  EXPECT_EQ(actual.size(), expected.size());
}

// Spec H11.
TEST(MetricsReductionTest, H11_AgreesWithThePythonReference) {
  std::ifstream file("tests/golden/metrics_reduction.json");
  ASSERT_TRUE(file) << "tests/golden/metrics_reduction.json is missing";
  const Json cases = Json::parse(file);
  ASSERT_GT(cases.size(), 30U);
  for (const Json& entry : cases) {
    SCOPED_TRACE(entry["name"].get<std::string>());
    std::vector<Metrics> metrics;
    for (const Json& chunk : entry["chunks"]) metrics.push_back(metrics_of(chunk["metrics"]));
    std::vector<ChunkMetrics> chunks;
    for (std::size_t i = 0; i < metrics.size(); ++i) {
      chunks.push_back({&metrics[i], entry["chunks"][i]["num_outputs"].get<std::size_t>()});
    }
    expect_same(reduce_metrics(chunks), metrics_of(entry["expected"]));
  }
}

TEST(MetricsReductionTest, HashUnordered_IsCPythonsTupleHashToTheLastBit) {
  const auto hash = [](std::vector<double> values) { return hash_unordered(values); };
  EXPECT_EQ(hash({1}), -6644214454873602895);
  EXPECT_EQ(hash({3, 7, 11}), -3291767024517492804);
  EXPECT_EQ(hash({11, 3, 7}), -3291767024517492804) << "order must not matter";
  EXPECT_EQ(hash({-5, 0, 5}), -8156570220132409668);
  EXPECT_EQ(hash({-1}), 8078679518589016365);
  EXPECT_EQ(hash({1e300}), -3450577862238526274);
  EXPECT_EQ(hash({-1e300, 0x1p64, 0x1p62}), 4114171720046091936);
  EXPECT_EQ(hash({}), 5740354900026072187);
}

TEST(MetricsReductionTest, Hash2_AddsModulo2To64) {
  const auto hash = [](std::vector<double> values) { return hash2(values); };
  EXPECT_EQ(hash({}), 0U);
  EXPECT_EQ(hash({1.9, -0.9, 2.0}), 3U);
  EXPECT_EQ(hash({-1}), 18446744073709551615U);
  EXPECT_EQ(hash({0x1p63, 0x1p63, 5}), 5U);
  EXPECT_EQ(hash({0x1p64, 0x1p200, 7}), 7U);
  EXPECT_EQ(hash({-0x1p63, 1}), 9223372036854775809U);
  EXPECT_EQ(hash({std::nan(""), std::numeric_limits<double>::infinity(), 4}), 4U);
}

}  // namespace
}  // namespace tinkex::internal
