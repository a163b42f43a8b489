// Sequences that lie one after another, and prompts, as Datums.

#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "torch_ext/ragged.h"

namespace tinkex::torch_ext {
namespace {

using testing::ElementsAre;
using testing::StartsWith;

at::Tensor ints(std::vector<std::int64_t> values) { return at::tensor(values, at::kLong); }

std::string error_of(const at::Tensor& tokens, const at::Tensor& offsets,
                     const NamedTensorList& inputs = {}) {
  const Result<RaggedBatch> batch = borrow_ragged_datums(tokens, offsets, inputs);
  if (batch) return "no error";
  EXPECT_EQ(batch.error().code(), ErrorCode::kInvalidArgument);
  return batch.error().message();
}

TEST(RaggedDatumsTest, EachSequenceIsCutOutOfTheTokensAndOfEveryInput) {
  const at::Tensor tokens = ints({1, 2, 3, 4, 5});
  const at::Tensor targets = at::arange(10, at::kInt).view({5, 2});
  const RaggedBatch batch =
      borrow_ragged_datums(tokens, ints({0, 2, 5}), {{"target_tokens", targets}}).value();
  ASSERT_EQ(batch.datums.size(), 2u);
  EXPECT_THAT(batch.datums[0].model_input.text_tokens(), ElementsAre(1, 2));
  EXPECT_THAT(batch.datums[1].model_input.text_tokens(), ElementsAre(3, 4, 5));
  const TensorData& second = *find(batch.datums[1].loss_fn_inputs, "target_tokens");
  EXPECT_THAT(second.shape(), ElementsAre(3, 2));
  EXPECT_THAT(second.to_ints(), ElementsAre(4, 5, 6, 7, 8, 9));
}

TEST(RaggedDatumsTest, ContiguousTensorsAreReadInPlaceAndOthersCopiedOnce) {
  const at::Tensor tokens = ints({1, 2, 3});
  const at::Tensor strided = at::arange(6, at::kFloat).view({3, 2}).select(1, 1);
  const RaggedBatch batch =
      borrow_ragged_datums(tokens, ints({0, 1, 3}), {{"weights", strided}}).value();
  const auto& text = std::get<EncodedTextChunk>(batch.datums[1].model_input.chunks[0]);
  EXPECT_EQ(static_cast<const void*>(text.tokens.data()), tokens.data_ptr<std::int64_t>() + 1);
  EXPECT_THAT(find(batch.datums[1].loss_fn_inputs, "weights")->to_floats(), ElementsAre(3, 5));
}

TEST(RaggedDatumsTest, WrongOffsetsAreNamedWithTheirIndex) {
  const at::Tensor tokens = ints({1, 2, 3});
  EXPECT_THAT(error_of(tokens, ints({0, 2, 1, 3})),
              StartsWith("offsets[2] is 1, expected at least 2"));
  EXPECT_THAT(error_of(tokens, ints({0, 2, 2, 3})),
              StartsWith("offsets[2] is 2 like the one before"));
  EXPECT_THAT(error_of(tokens, ints({0, 2})),
              StartsWith("offsets begins with 0 and ends with 2, expected 0 and 3"));
  EXPECT_THAT(error_of(tokens, ints({1, 3})), StartsWith("offsets begins with 1"));
  EXPECT_THAT(error_of(tokens, at::ones({2})), StartsWith("offsets has dtype float32"));
  EXPECT_THAT(error_of(tokens, at::ones({2, 2}, at::kLong)),
              StartsWith("offsets has dtype int64, 2"));
  EXPECT_THAT(error_of(tokens, at::Tensor()), StartsWith("offsets is undefined"));
}

TEST(RaggedDatumsTest, InputsWithoutOneRowPerTokenAreNamed) {
  const at::Tensor tokens = ints({1, 2, 3});
  EXPECT_EQ(error_of(tokens, ints({0, 3}), {{"weights", at::ones({2})}}),
            "loss_fn_inputs['weights'] has 2 rows but tokens has 3; give one row per token");
  EXPECT_THAT(error_of(tokens, ints({0, 3}), {{"weights", at::ones({})}}),
              StartsWith("loss_fn_inputs['weights'] has no dimensions"));
  EXPECT_THAT(error_of(tokens, ints({0, 3}), {{"weights", at::ones({3, 3}).to_sparse_csr()}}),
              StartsWith("loss_fn_inputs['weights'] is sparse"));
  EXPECT_THAT(error_of(tokens, ints({0, 3}), {{"weights", at::Tensor()}}),
              StartsWith("loss_fn_inputs['weights'] is undefined"));
  EXPECT_THAT(error_of(at::ones({3}), ints({0, 3})), StartsWith("tokens has dtype float32"));
}

TEST(PromptsTest, EachIsNamedWithItsIndex) {
  EXPECT_THAT(borrow_prompts({ints({1}), ints({2, 3})}, "prompts").value()[1].text_tokens(),
              ElementsAre(2, 3));
  EXPECT_THAT(borrow_prompts({ints({1}), at::ones({2})}, "prompts").error().message(),
              StartsWith("prompts[1] has dtype float32"));
  EXPECT_THAT(borrow_prompts({}, "prompts").error().message(), StartsWith("prompts is empty"));
}

}  // namespace
}  // namespace tinkex::torch_ext
