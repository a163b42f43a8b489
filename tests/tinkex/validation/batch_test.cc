#include "tinkex/validate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace tinkex {
namespace {

using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;

Datum supervised(Ints tokens = {1, 2, 3}, Ints targets = {2, 3, 4}, Floats weights = {0, 1, 1}) {
  Datum datum;
  datum.model_input = ModelInput::from_tokens(std::move(tokens));
  datum.loss_fn_inputs = {{"target_tokens", TensorData::from(std::move(targets))},
                          {"weights", TensorData::from(std::move(weights))}};
  return datum;
}

Datum policy() {
  Datum datum = supervised();
  datum.loss_fn_inputs[1].first = "logprobs";
  datum.loss_fn_inputs.emplace_back("advantages", TensorData::from(Floats{1, -1, 0}));
  return datum;
}

std::string outcome(const std::vector<Datum>& data, std::string_view loss_fn = "cross_entropy",
                    const LossConfig& config = {}) {
  const Status status = validate(data, loss_fn, config);
  if (status.ok()) return "ok";
  EXPECT_EQ(status.error().code(), ErrorCode::kInvalidArgument);
  return status.error().message();
}

TEST(ValidateBatchTest, GoodBatchesPass) {
  EXPECT_EQ(outcome({supervised(), supervised()}), "ok");
  Datum without_weights = supervised();
  without_weights.loss_fn_inputs.pop_back();
  EXPECT_EQ(outcome({without_weights}), "ok");
  for (const char* loss_fn : {"importance_sampling", "ppo", "cispo", "dro"}) {
    EXPECT_EQ(outcome({policy()}, loss_fn), "ok") << loss_fn;
  }
}

TEST(ValidateBatchTest, PerTokenThresholdsAndTheRatioMaskPass) {
  Datum datum = policy();
  for (const char* name : {"clip_low_threshold", "clip_high_threshold", "sequence_ratio_mask"}) {
    datum.loss_fn_inputs.emplace_back(name, TensorData::from(Floats{1, 1, 1}));
  }
  EXPECT_EQ(outcome({datum}, "ppo", {{"clip_low_threshold", 0.8}, {"clip_high_threshold", 1.2}}),
            "ok");
}

TEST(ValidateBatchTest, SeveralTargetsPerPositionPass) {
  Datum datum = supervised();
  datum.loss_fn_inputs = {{"target_tokens", TensorData::from(Ints{1, 2, 3, 4, 5, 6}, {3, 2})},
                          {"weights", TensorData::from(Floats{1, 0, 1, 0, 1, 0}, {3, 2})}};
  EXPECT_EQ(outcome({datum}), "ok");
  const TensorData targets =
      TensorData::sparse_csr(TensorData::from(Ints{5}), {0, 1, 1, 1}, {7}, {3, 9}).value();
  const TensorData weights =
      TensorData::sparse_csr(TensorData::from(Floats{1}), {0, 1, 1, 1}, {7}, {3, 9}).value();
  datum.loss_fn_inputs = {{"target_tokens", targets}, {"weights", weights}};
  EXPECT_EQ(outcome({datum}), "ok");
}

TEST(ValidateBatchTest, EmptyBatchIsRefused) {
  EXPECT_EQ(outcome({}),
            "data: expected at least one datum, got an empty batch; skip the call when there is "
            "nothing to train on");
  EXPECT_NE(outcome({supervised()}, ""), "ok");
}

TEST(ValidateBatchTest, EmptyPromptIsRefused) {
  EXPECT_EQ(
      outcome({supervised(), supervised({}, {}, {})}),
      "datum 1, model_input: expected at least one token, got none; leave such examples out of "
      "the batch");
  EXPECT_NE(outcome({Datum{}}, "some_other_loss"), "ok");
}

TEST(ValidateBatchTest, TokensThatAreNoTokensAreRefused) {
  EXPECT_EQ(outcome({supervised({1, -7, 3})}),
            "datum 0, model_input: expected token ids in [0, 2147483648), got -7 at position 1; "
            "encode the text with the model's own tokenizer");
  Datum datum = supervised();
  datum.model_input = ModelInput::from_tokens(TensorData::from(Floats{1, 2, 3}));
  EXPECT_EQ(outcome({datum}),
            "datum 0, model_input: expected integer token ids, got float32; convert the tokens to "
            "int64 or int32");
  datum.model_input = ModelInput::from_tokens(TensorData::from(Ints{1, 2, 3}, {1, 3}));
  EXPECT_EQ(
      outcome({datum}),
      "datum 0, model_input: expected a dense 1-D array of tokens, got shape [1, 3]; give each "
      "sequence a datum or prompt of its own");
  datum.model_input = ModelInput::from_tokens(TensorData::view(nullptr, DType::kInt64, {3}));
  EXPECT_NE(outcome({datum}), "ok");
}

TEST(ValidateBatchTest, MissingInputIsNamed) {
  EXPECT_EQ(outcome({policy(), supervised()}, "cross_entropy").substr(0, 9), "2 problem");
  Datum datum = policy();
  datum.loss_fn_inputs.pop_back();
  EXPECT_EQ(outcome({datum}, "ppo"),
            "datum 0, advantages: expected this input, which ppo needs, got only 'target_tokens', "
            "'logprobs'; add it to loss_fn_inputs");
}

TEST(ValidateBatchTest, UnknownInputOfAKnownLossIsRefusedWithTheKnownNames) {
  Datum datum = supervised();
  datum.loss_fn_inputs.emplace_back("wieghts", TensorData::from(Floats{1, 1, 1}));
  EXPECT_EQ(
      outcome({datum}),
      "datum 0, wieghts: expected an input of cross_entropy (target_tokens, weights), got one "
      "that it does not take; remove it");
}

TEST(ValidateBatchTest, TargetsOfAnotherLengthThanTheInputAreRefused) {
  EXPECT_EQ(
      outcome({supervised({1, 2, 3, 4})}),
      "datum 0, target_tokens: expected 4 rows, one per token of model_input, got 3; for a "
      "sequence s, model_input is s without its last token and target_tokens is s without its "
      "first");
}

TEST(ValidateBatchTest, LengthIsNotComparedWhenAnImageHidesIt) {
  Datum datum = supervised();
  datum.model_input.chunks.emplace_back(ImageChunk{"\x89PNG", "png", std::nullopt});
  EXPECT_EQ(outcome({datum}), "ok");
  std::get<ImageChunk>(datum.model_input.chunks[1]).expected_tokens = 5;
  EXPECT_NE(outcome({datum}), "ok");
}

TEST(ValidateBatchTest, ImagesWithoutDataOrFormatAreRefused) {
  Datum datum = supervised();
  datum.model_input.chunks.emplace_back(ImageChunk{"", "gif", -1});
  const std::string message = outcome({datum});
  EXPECT_NE(message.find("datum 0, model_input chunk 1: expected the bytes of an image file"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("'gif'"), std::string::npos) << message;
  EXPECT_NE(message.find("got -1"), std::string::npos) << message;
}

TEST(ValidateBatchTest, TargetsMustBeIntegerTokens) {
  Datum datum = supervised();
  datum.loss_fn_inputs[0].second = TensorData::from(Floats{2, 3, 4});
  EXPECT_EQ(
      outcome({datum}),
      "datum 0, target_tokens: expected integer token ids, got float32; convert them to int64");
  EXPECT_EQ(outcome({supervised({1, 2, 3}, {-100, 3, 4})}),
            "datum 0, target_tokens: expected token ids in [0, 2147483648), got -100 at element 0; "
            "where a position should not count, give any token and the weight 0");
  datum.loss_fn_inputs[0].second = TensorData::from(Ints{2, 3, 4}, {1, 1, 3});
  EXPECT_NE(outcome({datum}), "ok");
}

TEST(ValidateBatchTest, InputsOfAnotherShapeThanTheTargetsAreRefused) {
  EXPECT_EQ(outcome({supervised({1, 2, 3}, {2, 3, 4}, {1, 1})}),
            "datum 0, weights: expected shape [3] like target_tokens, got [2]; give one value per "
            "target token");
}

TEST(ValidateBatchTest, NaNAndInfinityAreRefused) {
  EXPECT_EQ(outcome({supervised({1, 2, 3}, {2, 3, 4}, {1, NAN, 1})}),
            "datum 0, weights: expected finite float32 values, got nan at element 1; look for a "
            "division by zero or an overflow where it is computed");
  EXPECT_NE(outcome({supervised({1, 2, 3}, {2, 3, 4}, {1, 1, -INFINITY})}), "ok");
  EXPECT_EQ(outcome({policy()}, "ppo", {{"clip_low_threshold", NAN}}),
            "loss_fn_config 'clip_low_threshold': expected a finite number of at least 0, got nan; "
            "leave it out for the server's default");
}

TEST(ValidateBatchTest, AnInputGivenTwiceIsRefused) {
  Datum datum = supervised();
  datum.loss_fn_inputs.push_back(datum.loss_fn_inputs[1]);
  EXPECT_EQ(outcome({datum}),
            "datum 0, weights: expected each input once, got it twice; remove one of them");
}

TEST(ValidateBatchTest, InputsOfAnUnknownLossPassButMustBeReadable) {
  Datum datum;
  datum.model_input = ModelInput::from_tokens(Ints{1});
  datum.loss_fn_inputs = {{"values", TensorData::from(Floats{-INFINITY, 2, 3, 4, 5})}};
  EXPECT_EQ(outcome({datum}, "ppo_critic", {{"x", NAN}}), "ok");
  datum.loss_fn_inputs[0].second = TensorData::view(nullptr, DType::kFloat32, {2});
  EXPECT_EQ(outcome({datum}, "ppo_critic"),
            "datum 0, values: expected elements to read, got shape [2] without memory; build the "
            "TensorData from existing memory and a shape without negative extents");
}

TEST(ValidateBatchTest, EverythingIsReportedAtOnceUpToTen) {
  std::vector<Datum> data(13, supervised({1, 2, 3}, {2, 3, 4}, {1, 1}));
  const std::string message = outcome(data);
  EXPECT_EQ(message.substr(0, 12), "13 problems:");
  EXPECT_NE(message.find("(1) datum 0, weights"), std::string::npos);
  EXPECT_NE(message.find("(10) datum 9, weights"), std::string::npos);
  EXPECT_EQ(message.find("datum 10"), std::string::npos);
  EXPECT_EQ(message.substr(message.size() - 11), " and 3 more");
}

TEST(ValidateBatchTest, HostileNamesStayInOneLine) {
  Datum datum = supervised();
  datum.loss_fn_inputs.emplace_back("a\nb\x1b[2J" + std::string(500, 'x'), TensorData());
  const std::string message = outcome({datum});
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace tinkex
