// The outputs of a batch as lists and as values with offsets.

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "torch_ext/datum_convert.h"
#include "torch_ext/ragged.h"

namespace tinkex::torch_ext {
namespace {

using testing::HasSubstr;

TensorData floats(std::vector<float> values, std::vector<std::int64_t> shape = {}) {
  return TensorData::from(std::move(values), shape);
}

at::Tensor ints(std::vector<std::int64_t> values) { return at::tensor(values, at::kLong); }

std::vector<NamedTensors> logprobs_of(std::vector<TensorData> parts) {
  std::vector<NamedTensors> outputs;
  for (TensorData& part : parts) outputs.push_back({{"logprobs", std::move(part)}});
  return outputs;
}

TEST(OutputsToTensorsTest, OutputsBecomeOneListPerName) {
  const NamedTensorLists lists =
      outputs_to_tensors(logprobs_of({floats({-1, -2}), floats({-3})})).value();
  ASSERT_EQ(lists.size(), 1u);
  EXPECT_EQ(lists[0].first, "logprobs");
  ASSERT_EQ(lists[0].second.size(), 2u);
  EXPECT_TRUE(at::equal(lists[0].second[0], at::arange(1, 3, at::kFloat).neg()));
  EXPECT_EQ(lists[0].second[1].numel(), 1);
}

TEST(OutputsToTensorsTest, TensorsOfAListAreSlicesOfOneStorageThatDoNotOverlap) {
  const auto list =
      outputs_to_tensors(logprobs_of({floats({1, 2, 3, 4}, {2, 2}), floats({}), floats({5})}))
          .value()[0]
          .second;
  EXPECT_TRUE(list[0].storage().is_alias_of(list[2].storage()));
  EXPECT_EQ(list[0].storage().nbytes(), 5 * sizeof(float));
  EXPECT_EQ(list[0].sizes(), at::IntArrayRef({2, 2}));
  EXPECT_EQ(list[1].numel(), 0);
  list[2].fill_(9);
  EXPECT_TRUE(at::equal(list[0].flatten(), at::arange(1, 5, at::kFloat)));
  EXPECT_EQ(list[0].requires_grad(), false);
}

TEST(OutputsToTensorsTest, ArraysThatLieSideBySideAndApartGiveTheSameNumbers) {
  const auto block = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3, 4, 5});
  const auto part = [&block](std::size_t begin, std::int64_t size) {
    return TensorData::share(block, block->data() + begin, DType::kFloat32, {size});
  };
  const auto list =
      outputs_to_tensors(logprobs_of({part(0, 2), part(2, 3), part(1, 1), floats({7}), part(0, 1)}))
          .value()[0]
          .second;
  const std::vector<at::Tensor> expected = {at::tensor({1.f, 2.f}), at::tensor({3.f, 4.f, 5.f}),
                                            at::tensor({2.f}), at::tensor({7.f}),
                                            at::tensor({1.f})};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(at::equal(list[i], expected[i])) << i;
  }
}

TEST(OutputsToTensorsTest, DifferentTypesInOneListKeepTheirType) {
  const auto list =
      outputs_to_tensors(logprobs_of({floats({1}), TensorData::from(std::vector<std::int64_t>{2})}))
          .value()[0]
          .second;
  EXPECT_EQ(list[0].scalar_type(), at::kFloat);
  EXPECT_EQ(list[1].scalar_type(), at::kLong);
}

TEST(OutputsToTensorsTest, OutputsThatDifferBetweenDatumsAreADecodeError) {
  const TensorData value = floats({-1});
  const std::vector<std::vector<NamedTensors>> bad = {
      {{{"logprobs", value}}, {}},
      {{}, {{"logprobs", value}}},
      {{{"logprobs", value}}, {{"logprobs", value}, {"entropy", value}}}};
  for (const auto& outputs : bad) {
    EXPECT_EQ(outputs_to_tensors(outputs).error().code(), ErrorCode::kDecode);
    EXPECT_EQ(outputs_to_ragged(outputs).error().code(), ErrorCode::kDecode);
  }
}

TEST(OutputsToTensorsTest, OutputsAreFoundWhateverTheirOrder) {
  const TensorData a = floats({1});
  const TensorData b = floats({2});
  const auto lists = outputs_to_tensors({{{"a", a}, {"b", b}}, {{"b", b}, {"a", a}}}).value();
  EXPECT_EQ(lists[0].second[1].item<float>(), 1);
  EXPECT_EQ(lists[1].second[1].item<float>(), 2);
}

TEST(OutputsToRaggedTest, RowsFollowEachOtherAndOffsetsSayWhereEachDatumBegins) {
  const NamedRagged ragged =
      outputs_to_ragged(
          logprobs_of({floats({1, 2, 3, 4}, {2, 2}), floats({}, {0, 2}), floats({5, 6}, {1, 2})}))
          .value();
  ASSERT_EQ(ragged.size(), 1u);
  EXPECT_EQ(ragged[0].first, "logprobs");
  EXPECT_TRUE(at::equal(ragged[0].second.values, at::arange(1, 7, at::kFloat).view({3, 2})));
  EXPECT_TRUE(at::equal(ragged[0].second.offsets, ints({0, 2, 2, 3})));
}

TEST(OutputsToRaggedTest, ANumberPerDatumIsOneRow) {
  const Ragged ragged =
      outputs_to_ragged(logprobs_of({TensorData::from(std::vector<float>{1}, {1}),
                                     TensorData::from(std::vector<float>{2}, {1})}))
          .value()[0]
          .second;
  EXPECT_TRUE(at::equal(ragged.offsets, ints({0, 1, 2})));
  const float number = 3;
  const TensorData scalar = TensorData::view(&number, DType::kFloat32, {});
  const Ragged scalars = outputs_to_ragged(logprobs_of({scalar, scalar})).value()[0].second;
  EXPECT_TRUE(at::equal(scalars.values, at::tensor({3.f, 3.f})));
  EXPECT_TRUE(at::equal(scalars.offsets, ints({0, 1, 2})));
}

TEST(OutputsToRaggedTest, ArraysWithoutOneRaggedFormAreNamed) {
  const Error shape =
      outputs_to_ragged(logprobs_of({floats({1, 2}, {1, 2}), floats({1, 2}, {2, 1})})).error();
  EXPECT_EQ(shape.code(), ErrorCode::kDecode);
  EXPECT_THAT(shape.message(), testing::AllOf(HasSubstr("'logprobs' of datum 1"),
                                              HasSubstr("the form that gives lists")));
  const auto sparse = TensorData::sparse_csr(floats({1}), {0, 1}, {0}, {1, 2}).value();
  EXPECT_EQ(outputs_to_ragged(logprobs_of({sparse})).error().code(), ErrorCode::kDecode);
}

TEST(OutputsToRaggedTest, NoOutputsGiveNoNames) {
  EXPECT_TRUE(outputs_to_ragged({}).value().empty());
  EXPECT_TRUE(outputs_to_ragged({{}, {}}).value().empty());
}

}  // namespace
}  // namespace tinkex::torch_ext
