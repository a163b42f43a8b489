#include "torch_ext/datum_convert.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "torch_ext/metrics_tensor.h"

namespace tinkex::torch_ext {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

at::Tensor tokens_of(std::int64_t length) { return at::arange(length, at::kLong); }

std::string error_of(const std::vector<at::Tensor>& tokens, const NamedTensorLists& inputs) {
  const Result<std::vector<Datum>> datums = borrow_datums(tokens, inputs);
  return datums ? "no error" : datums.error().message();
}

TEST(DatumConvertTest, EachSequenceBecomesADatumWithItsLossInputsInOrder) {
  const std::vector<at::Tensor> tokens = {tokens_of(3), tokens_of(2)};
  const NamedTensorLists inputs = {{"target_tokens", {tokens_of(3).add(1), tokens_of(2).add(1)}},
                                   {"weights", {at::ones({3}), at::zeros({2})}}};
  const std::vector<Datum> datums = borrow_datums(tokens, inputs).value();
  ASSERT_EQ(datums.size(), 2u);
  EXPECT_THAT(datums[1].model_input.text_tokens(), ElementsAre(0, 1));
  ASSERT_EQ(datums[0].loss_fn_inputs.size(), 2u);
  EXPECT_EQ(datums[0].loss_fn_inputs[0].first, "target_tokens");
  EXPECT_THAT(find(datums[0].loss_fn_inputs, "target_tokens")->to_ints(), ElementsAre(1, 2, 3));
  EXPECT_THAT(find(datums[1].loss_fn_inputs, "weights")->to_floats(), ElementsAre(0, 0));
}

TEST(DatumConvertTest, TensorBytesAreNotCopied) {
  const std::vector<at::Tensor> tokens = {tokens_of(5)};
  const at::Tensor weights = at::ones({5});
  const std::vector<Datum> datums = borrow_datums(tokens, {{"weights", {weights}}}).value();
  const auto& text = std::get<EncodedTextChunk>(datums[0].model_input.chunks[0]);
  EXPECT_EQ(static_cast<const void*>(text.tokens.data()), tokens[0].data_ptr());
  EXPECT_EQ(static_cast<const void*>(find(datums[0].loss_fn_inputs, "weights")->data()),
            weights.data_ptr());
}

TEST(DatumConvertTest, TensorsOfATemporaryListStayForAsLongAsTheDatums) {
  int freed = 0;
  std::vector<std::int64_t> ids{1, 2};
  std::vector<float> ones{1, 1};
  const auto counted = [&](void* data, at::ScalarType type) {
    return at::from_blob(
        data, {2}, [&freed](void*) { ++freed; }, at::TensorOptions(type));
  };
  {
    const std::vector<Datum> datums =
        borrow_datums({counted(ids.data(), at::kLong)},
                      {{"weights", {counted(ones.data(), at::kFloat)}}})
            .value();
    EXPECT_EQ(freed, 0);
    EXPECT_THAT(datums[0].model_input.text_tokens(), ElementsAre(1, 2));
  }
  EXPECT_EQ(freed, 2);
}

TEST(DatumConvertTest, EmptyBatchIsRefused) {
  EXPECT_EQ(error_of({}, {}), "tokens is empty, expected at least one sequence of token ids");
}

TEST(DatumConvertTest, ListOfAnotherLengthIsRefusedByName) {
  EXPECT_EQ(
      error_of({tokens_of(3)}, {{"weights", {at::ones({3}), at::ones({3})}}}),
      "loss_fn_inputs['weights'] has 2 tensors but tokens has 1; give one tensor per sequence");
}

TEST(DatumConvertTest, PromptMustBeOneDimensionOfIntegers) {
  EXPECT_THAT(error_of({tokens_of(3), at::ones({3})}, {}),
              StartsWith("tokens[1] has dtype float32, expected dense integer token ids"));
  EXPECT_THAT(error_of({at::ones({3}, at::kBool)}, {}), StartsWith("tokens[0] has dtype bool"));
  EXPECT_THAT(error_of({at::ones({3}, at::kComplexFloat)}, {}),
              StartsWith("tokens[0] has dtype ComplexFloat, expected dense integer token ids"));
  for (const at::Tensor& sparse :
       {at::ones({2, 2}, at::kLong).to_sparse(), at::ones({2, 2}, at::kLong).to_sparse_csr()}) {
    EXPECT_EQ(error_of({sparse}, {}),
              "tokens[0] has a sparse layout, expected dense integer token ids; use to_dense()");
  }
  EXPECT_THAT(error_of({tokens_of(4).view({2, 2})}, {}),
              StartsWith("tokens[0] has 2 dimensions and 4 elements, expected one dimension"));
  EXPECT_THAT(error_of({tokens_of(0)}, {}),
              StartsWith("tokens[0] has 1 dimensions and 0 elements"));
}

TEST(DatumConvertTest, BadLossInputIsNamedWithItsIndex) {
  EXPECT_EQ(error_of({tokens_of(1), tokens_of(1)}, {{"weights", {at::ones({1}), at::Tensor()}}}),
            "loss_fn_inputs['weights'][1] is undefined, as a default-constructed tensor is; give "
            "one with data");
}

// Tensors are looked at ahead of their turn, those that have no storage, too.
TEST(DatumConvertTest, InALongBatchTheFirstDatumThatCannotBeReadIsNamed) {
  constexpr std::size_t kDatums = 12;
  const std::vector<at::Tensor> tokens(kDatums, tokens_of(2));
  for (const at::Tensor& bad : {at::Tensor(), at::ones({2}, at::kMeta), at::eye(2).to_sparse()}) {
    for (std::size_t at = 0; at < kDatums; ++at) {
      std::vector<at::Tensor> weights(kDatums, at::ones({2}));
      std::fill(weights.begin() + static_cast<std::ptrdiff_t>(at), weights.end(), bad);
      EXPECT_THAT(error_of(tokens, {{"weights", weights}}),
                  StartsWith("loss_fn_inputs['weights'][" + std::to_string(at) + "] "));
    }
  }
}

TEST(DatumConvertTest, OfSeveralBadTensorsThatOfTheFirstDatumIsNamed) {
  std::vector<at::Tensor> tokens(12, tokens_of(2));
  std::fill(tokens.begin() + 3, tokens.end(), at::Tensor());
  EXPECT_THAT(error_of(tokens, {}), StartsWith("tokens[3] is undefined"));
  std::vector<at::Tensor> weights(12, at::ones({2}));
  weights[1] = at::Tensor();
  EXPECT_THAT(error_of(tokens, {{"weights", weights}}),
              StartsWith("loss_fn_inputs['weights'][1] is undefined"));
}

TEST(MetricsTensorTest, MetricsAreDoublesWithoutDimensions) {
  const auto tensors =
      metrics_to_tensors({{"loss:sum", 0.1}, {"clock_cycle:unique", 12345678901.0}});
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].first, "clock_cycle:unique");
  EXPECT_EQ(tensors[0].second.item<double>(), 12345678901.0);
  EXPECT_EQ(tensors[1].second.scalar_type(), at::kDouble);
  EXPECT_EQ(tensors[1].second.dim(), 0);
  EXPECT_EQ(tensors[1].second.item<double>(), 0.1);
}

}  // namespace
}  // namespace tinkex::torch_ext
