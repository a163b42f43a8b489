#include "tinkex/training/combine.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace tinkex::internal {
namespace {

/// A chunk whose outputs carry `first`, `first + 1`, ... so that their order can be seen.
ForwardBackwardOutput chunk(std::string type, std::size_t count, float first, Metrics metrics) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = std::move(type);
  for (std::size_t i = 0; i < count; ++i) {
    output.loss_fn_outputs.push_back(
        {{"logprobs", TensorData::from(std::vector<float>{first + static_cast<float>(i)})}});
  }
  output.metrics = std::move(metrics);
  return output;
}

std::vector<float> logprobs(const ForwardBackwardOutput& output) {
  std::vector<float> values;
  for (const NamedTensors& tensors : output.loss_fn_outputs) {
    values.push_back(find(tensors, "logprobs")->as<float>().front());
  }
  return values;
}

/// Chunks that were sent with these numbers of datums.
std::vector<ChunkRange> sent(const std::vector<std::size_t>& sizes) {
  std::vector<ChunkRange> ranges;
  std::size_t begin = 0;
  for (const std::size_t size : sizes) {
    ranges.push_back({begin, begin + size});
    begin += size;
  }
  return ranges;
}

// Spec T10.
TEST(CombineTest, T10_OutputsFollowTheOrderOfTheChunks) {
  std::vector<ForwardBackwardOutput> chunks;
  chunks.push_back(chunk("TorchLossReturn", 2, 10, {{"loss:sum", 1}, {"loss:mean", 1}}));
  chunks.push_back(chunk("TorchLossReturn", 1, 20, {{"loss:sum", 2}, {"loss:mean", 4}}));
  chunks.push_back(chunk("TorchLossReturn", 3, 30, {{"loss:sum", 4}, {"loss:mean", 7}}));
  const auto combined =
      combine_forward_backward_results(std::move(chunks), sent({2, 1, 3})).value();
  EXPECT_EQ(logprobs(combined), (std::vector<float>{10, 11, 20, 30, 31, 32}));
  EXPECT_EQ(combined.loss_fn_output_type, "TorchLossReturn");
  EXPECT_EQ(combined.metrics, (Metrics{{"loss:sum", 7}, {"loss:mean", 27.0 / 6.0}}));
}

// Spec T10.
TEST(CombineTest, T10_OneChunkIsReducedToo) {
  std::vector<ForwardBackwardOutput> chunks;
  chunks.push_back(chunk("t", 1, 5, {{"a:slack", 3}, {"b:sum", 2}, {"c", 9}}));
  const auto combined = combine_forward_backward_results(std::move(chunks), sent({1})).value();
  EXPECT_EQ(combined.metrics, (Metrics{{"a:slack", 0}, {"b:sum", 2}, {"c", 9}}));
  EXPECT_EQ(logprobs(combined), (std::vector<float>{5}));
}

// Spec T10.
TEST(CombineTest, T10_AnotherOutputTypeIsRefused) {
  std::vector<ForwardBackwardOutput> chunks;
  chunks.push_back(chunk("a", 1, 0, {}));
  chunks.push_back(chunk("b", 1, 0, {}));
  const auto combined = combine_forward_backward_results(std::move(chunks), sent({1, 1}));
  ASSERT_FALSE(combined.ok());
  EXPECT_EQ(combined.error().code(), ErrorCode::kDecode);
  EXPECT_EQ(
      combined.error().message(),
      "the server answered chunk 2 of 2 with outputs of type 'b' but the first chunk with 'a'; "
      "the results of one batch cannot be combined");
}

/// The file spells numbers that JSON does not have as texts.
Metrics metrics_of(const nlohmann::json& object) {
  Metrics metrics;
  for (const auto& [name, value] : object.items()) {
    metrics[name] = value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>();
  }
  return metrics;
}

ForwardBackwardOutput output_of(const nlohmann::json& golden) {
  ForwardBackwardOutput output;
  output.loss_fn_output_type = golden["type"];
  for (const float logprob : golden["logprobs"].get<std::vector<float>>()) {
    output.loss_fn_outputs.push_back({{"logprobs", TensorData::from(std::vector{logprob})}});
  }
  output.metrics = metrics_of(golden["metrics"]);
  return output;
}

// Spec T10, H11.
TEST(CombineTest, T10_H11_AgreesWithThePythonReference) {
  std::ifstream file("tests/golden/combine.json");
  ASSERT_TRUE(file) << "tests/golden/combine.json is missing";
  const auto cases = nlohmann::json::parse(file);
  ASSERT_GE(cases.size(), 10U);
  for (const nlohmann::json& entry : cases) {
    SCOPED_TRACE(entry["name"].get<std::string>());
    std::vector<ForwardBackwardOutput> chunks;
    std::vector<std::size_t> sizes;
    for (const nlohmann::json& one : entry["chunks"]) {
      chunks.push_back(output_of(one));
      sizes.push_back(one["sent"]);
    }
    const auto combined = combine_forward_backward_results(std::move(chunks), sent(sizes));
    const nlohmann::json& expected = entry["expected"];
    if (expected.contains("error")) {
      ASSERT_FALSE(combined.ok());
      EXPECT_NE(combined.error().message().find(expected["error"].get<std::string>() + " of"),
                std::string::npos)
          << combined.error().message();
      continue;
    }
    ASSERT_TRUE(combined.ok()) << combined.error().what();
    EXPECT_EQ(combined->loss_fn_output_type, expected["type"]);
    EXPECT_EQ(logprobs(*combined), expected["logprobs"].get<std::vector<float>>());
    EXPECT_EQ(combined->metrics, metrics_of(expected["metrics"]));
  }
}

TEST(CombineTest, NoChunksIsAnErrorAndNotACrash) {
  const auto combined = combine_forward_backward_results({}, {});
  ASSERT_FALSE(combined.ok());
  EXPECT_EQ(combined.error().code(), ErrorCode::kInternal);
}

// Spec T10.
TEST(CombineTest, T10_AChunkAnsweredForAnotherNumberOfDatumsIsRefused) {
  for (const std::size_t answered : {0, 1, 3}) {
    std::vector<ForwardBackwardOutput> chunks;
    chunks.push_back(chunk("t", 1, 0, {}));
    chunks.push_back(chunk("t", answered, 0, {}));
    const auto combined = combine_forward_backward_results(std::move(chunks), sent({1, 2}));
    ASSERT_FALSE(combined.ok()) << answered;
    EXPECT_EQ(combined.error().code(), ErrorCode::kDecode);
    EXPECT_EQ(combined.error().message(),
              "the server answered chunk 2 of 2 with loss_fn_outputs for " +
                  std::to_string(answered) + " datums, but the chunk has 2");
  }
}

}  // namespace
}  // namespace tinkex::internal
