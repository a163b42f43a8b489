// What each loss takes, what the caller may tell the checks, and problems as values.

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tinkex/validate.h"

namespace tinkex {
namespace {

using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;

Datum datum(NamedTensors more = {}) {
  Datum made;
  made.model_input = ModelInput::from_tokens(Ints{1, 2, 3});
  made.loss_fn_inputs = {{"target_tokens", TensorData::from(Ints{2, 3, 4})}};
  for (auto& input : more) made.loss_fn_inputs.push_back(std::move(input));
  return made;
}

Datum policy() {
  return datum({{"logprobs", TensorData::from(Floats{-1, -1, -1})},
                {"advantages", TensorData::from(Floats{1, -1, 0})}});
}

std::string outcome(const Status& status) { return status.ok() ? "ok" : status.error().message(); }

std::string outcome(const Datum& one, std::string_view loss_fn, const LossConfig& config = {},
                    const ValidationOptions& options = {}) {
  return outcome(validate({&one, 1}, loss_fn, config, options));
}

TEST(LossRulesTest, PolicyLossesShareTheirInputs) {
  for (const char* loss : {"importance_sampling", "ppo", "cispo", "dro", "gspo"}) {
    EXPECT_EQ(outcome(policy(), loss), "ok") << loss;
    EXPECT_NE(outcome(datum(), loss).find("2 problems: (1) datum 0, logprobs"), std::string::npos);
  }
}

TEST(LossRulesTest, OnlyCrossEntropyAndCustomLossesTakeSeveralTargets) {
  Datum many;
  many.model_input = ModelInput::from_tokens(Ints{1, 2});
  const std::vector<std::int64_t> shape{2, 2};
  many.loss_fn_inputs = {{"target_tokens", TensorData::from(Ints{1, 2, 3, 4}, shape)}};
  EXPECT_EQ(outcome(many, "cross_entropy"), "ok");
  EXPECT_TRUE(find_custom_loss_problems({&many, 1}).empty());
  many.loss_fn_inputs.emplace_back("logprobs", TensorData::from(Floats{0, 0, 0, 0}, shape));
  many.loss_fn_inputs.emplace_back("advantages", TensorData::from(Floats{0, 0, 0, 0}, shape));
  EXPECT_EQ(outcome(many, "ppo"),
            "datum 0, target_tokens: expected shape [N], got [2, 2]; reshape it");
  many.loss_fn_inputs = {{"target_tokens", TensorData::from(Ints{}, {2, 0})}};
  EXPECT_EQ(outcome(many, "cross_entropy"),
            "datum 0, target_tokens: expected shape [N] or, with K > 0 targets per position, "
            "[N, K], got [2, 0]; reshape it");
}

TEST(LossRulesTest, SettingsAreKnownPerLoss) {
  EXPECT_EQ(outcome(policy(), "ppo", {{"clip_low_threshold", 0.8}, {"value_clip", 0.2}}), "ok");
  EXPECT_EQ(outcome(policy(), "dro", {{"beta", 0.0}, {"temperature", 1.0}}), "ok");
  EXPECT_EQ(outcome(policy(), "dro", {{"clip_low_threshold", 0.8}}),
            "loss_fn_config 'clip_low_threshold': expected a setting of dro (beta, temperature), "
            "got one that it does not have; remove it");
  EXPECT_NE(outcome(datum(), "cross_entropy", {{"beta", 0.1}}), "ok");
}

TEST(LossRulesTest, SettingsHaveTypesAndRanges) {
  EXPECT_EQ(
      outcome(policy(), "dro", {{"temperature", 0.0}}),
      "loss_fn_config 'temperature': expected a finite number above 0, got 0; leave it out for "
      "the server's default");
  EXPECT_EQ(outcome(policy(), "dro", {{"beta", std::string("0.1")}}),
            "loss_fn_config 'beta': expected a number, got the text '0.1'; pass it as a double");
  EXPECT_EQ(outcome(policy(), "dro", {{"beta", -1.0}}),
            "loss_fn_config 'beta': expected a finite number of at least 0, got -1; leave it out "
            "for the server's default");
  EXPECT_EQ(outcome(policy(), "cispo", {{"clip_low_threshold", 1.2}, {"clip_high_threshold", 0.8}}),
            "loss_fn_config 'clip_low_threshold': expected at most clip_high_threshold (0.8), got "
            "1.2; both are ratios, such as 0.8 and 1.2");
}

TEST(LossRulesTest, ALossThatTheServerWasTaughtNeedsItsIdAsText) {
  const Datum with_more = datum({{"reward", TensorData::from(Floats{NAN, 1}, {2})}});
  EXPECT_EQ(outcome(with_more, "custom", {{"loss_id", std::string("l-1")}}), "ok");
  EXPECT_EQ(outcome(with_more, "custom"),
            "loss_fn_config 'loss_id': expected this setting, which custom needs, got none; add it "
            "to the loss's settings");
  EXPECT_EQ(outcome(with_more, "custom", {{"loss_id", 3.0}}),
            "loss_fn_config 'loss_id': expected a text that is not empty, in UTF-8, got the number "
            "3; pass it as a std::string");
  EXPECT_NE(outcome(Datum{datum().model_input, {}}, "custom", {{"loss_id", std::string("l")}}),
            "ok");
}

TEST(LossRulesTest, StableReinforceKeepsItsOwnInputsAndSettings) {
  const Datum with_more = datum({{"rewards", TensorData::from(Floats{1}, {1})}});
  EXPECT_EQ(outcome(with_more, "stable_reinforce", {{"any", std::string("x")}, {"other", 1.0}}),
            "ok");
  EXPECT_NE(outcome(Datum{datum().model_input, {}}, "stable_reinforce"), "ok");
}

TEST(LossRulesTest, WhatNoEncodingCanCarryIsRefusedForEveryLoss) {
  EXPECT_NE(outcome(datum({{"a\xff", TensorData()}}), "other").find("a name in UTF-8"),
            std::string::npos);
  EXPECT_NE(outcome(datum(), "other", {{"key", std::string("\xff")}}).find("in UTF-8"),
            std::string::npos);
  EXPECT_NE(outcome(datum(), "\xff"), "ok");
  const TensorData deep = TensorData::from(Floats{1}, std::vector<std::int64_t>(17, 1));
  EXPECT_EQ(outcome(datum({{"deep", deep}}), "other"),
            "datum 0, deep: expected at most 16 dimensions, got 17; flatten it");
  Datum floats = datum();
  floats.loss_fn_inputs[0].second = TensorData::from(Floats{1, 2, 3});
  EXPECT_NE(outcome(floats, "other").find("integer token ids"), std::string::npos);
}

TEST(CustomLossDataTest, WeightsAreCheckedAndOtherInputsAreTheFunctionsOwn) {
  const Datum good = datum({{"reward", TensorData::from(Floats{NAN}, {1, 1, 1})},
                            {"weights", TensorData::from(Floats{1, 0, 1})}});
  EXPECT_TRUE(find_custom_loss_problems({&good, 1}).empty());
  const Datum bad = datum({{"weights", TensorData::from(Floats{1, 0})}});
  EXPECT_EQ(outcome(find_custom_loss_problems({&bad, 1}).status()),
            "datum 0, weights: expected shape [3] like target_tokens, got [2]; give one value per "
            "target token");
  const Datum none{datum().model_input, {}};
  EXPECT_EQ(outcome(find_custom_loss_problems({&none, 1}).status()),
            "datum 0, target_tokens: expected this input, which a custom loss needs, got no "
            "inputs; add it to loss_fn_inputs");
  EXPECT_EQ(find_custom_loss_problems({}).count, 1u);
  Datum sparse = datum();
  sparse.loss_fn_inputs[0].second =
      TensorData::sparse_csr(TensorData::from(Ints{5}), {0, 1, 1, 1}, {7}, {3, 9}).value();
  EXPECT_EQ(outcome(sparse, "cross_entropy"), "ok");
  EXPECT_EQ(outcome(find_custom_loss_problems({&sparse, 1}).status()),
            "datum 0, target_tokens: expected a dense array, got a sparse one of shape [3, 9]; a "
            "custom loss has a derivative for every element; make it dense");
}

TEST(ValidationOptionsTest, TheVocabularyBoundsPromptsAndTargets) {
  Datum one = datum();
  EXPECT_EQ(outcome(one, "cross_entropy", {}, {.vocabulary_size = 5}), "ok");
  EXPECT_EQ(outcome(one, "cross_entropy", {}, {.vocabulary_size = 4}),
            "datum 0, target_tokens: expected token ids in [0, 4), got 4 at element 2; where a "
            "position should not count, give any token and the weight 0");
  EXPECT_EQ(outcome(one, "cross_entropy", {}, {.vocabulary_size = 3}).substr(0, 11), "2 problems:");
  for (const std::int64_t size : {std::int64_t{0}, std::int64_t{1} << 32}) {
    const std::string message = outcome(one, "cross_entropy", {}, {.vocabulary_size = size});
    EXPECT_NE(message.find("vocabulary_size: expected"), std::string::npos) << message;
  }
}

TEST(ValidationOptionsTest, ImagePointersNeedJson) {
  Datum one = datum();
  one.model_input.chunks.emplace_back(ImageAssetPointerChunk{"https://x/y.png", "png", {}});
  EXPECT_EQ(outcome(one, "cross_entropy"), "ok");
  EXPECT_EQ(outcome(one, "cross_entropy", {}, {.wire_format = WireFormat::kJson}), "ok");
  EXPECT_NE(outcome(one, "cross_entropy", {}, {.wire_format = WireFormat::kProtobuf})
                .find("protobuf has no form for it"),
            std::string::npos);
}

TEST(ImageTest, TheBytesMustBeThoseOfTheFormat) {
  Datum one = datum();
  one.model_input.chunks.emplace_back(ImageChunk{"iVBORw0KGgo=", "png", {}});
  EXPECT_EQ(outcome(one, "cross_entropy"),
            "datum 0, model_input chunk 1: expected the bytes of a png file, got data that begins "
            "with the bytes 69 56 42 4f; give the file's bytes as they are, not base64, and their "
            "own format");
  for (const auto& [data, format] :
       {std::pair("\x89PNG\r\n", "png"), {"\xff\xd8\xff\xe0", "jpeg"}}) {
    one.model_input.chunks[1] = ImageChunk{data, format, {}};
    EXPECT_EQ(outcome(one, "cross_entropy"), "ok") << format;
  }
}

TEST(ProblemTest, EachIsAValueWithItsParts) {
  const std::vector<Datum> data{datum(),
                                datum({{"weights", TensorData::from(Floats{1, INFINITY, 1})}})};
  const ProblemList found = find_problems(data, "cross_entropy");
  ASSERT_EQ(found.count, 1u);
  EXPECT_EQ(found.problems.front(),
            (Problem{.datum = 1,
                     .field = "weights",
                     .expected = "finite float32 values",
                     .actual = "inf at element 1",
                     .remedy = "look for a division by zero or an overflow where it is computed"}));
  EXPECT_EQ(to_string(found.problems.front()), outcome(found.status()));
}

TEST(ProblemTest, TheCallerChoosesHowManyAreDescribed) {
  const std::vector<Datum> data(5, datum({{"wrong", TensorData()}}));
  const ProblemList two = find_problems(data, "cross_entropy", {}, {.max_problems = 2});
  EXPECT_EQ(two.count, 5u);
  EXPECT_EQ(two.problems.size(), 2u);
  EXPECT_TRUE(outcome(two.status()).ends_with(" and 3 more"));
  const ProblemList none = find_problems(data, "cross_entropy", {}, {.max_problems = 0});
  EXPECT_EQ(none.count, 5u);
  EXPECT_EQ(none.status().error().code(), ErrorCode::kInvalidArgument);
}

TEST(SampleProblemsTest, PromptParametersAndOptionsAreReportedTogether) {
  SamplingParams params;
  params.temperature = -1;
  const ProblemList found = find_problems(ModelInput::from_tokens(Ints{1, 99}), 0, params,
                                          {.topk_prompt_logprobs = -1}, {.vocabulary_size = 50});
  ASSERT_EQ(found.count, 4u);
  EXPECT_EQ(found.problems[0].field, "prompt");
  EXPECT_EQ(found.problems[1].field, "num_samples");
  EXPECT_EQ(found.problems[2].field, "temperature");
  EXPECT_EQ(found.problems[3].field, "topk_prompt_logprobs");
  EXPECT_TRUE(
      find_problems(ModelInput::from_tokens(Ints{1, 49}), 1, {}, {}, {.vocabulary_size = 50})
          .empty());
  EXPECT_EQ(find_problems(ModelInput{}, 1, {}).problems.front().expected, "at least one token");
}

TEST(SampleProblemsTest, CountsFitTheWireAndStopsAreText) {
  SamplingParams params;
  params.max_tokens = std::int64_t{1} << 31;
  params.stop = {std::string("\xff")};
  EXPECT_EQ(outcome(validate(params, std::int64_t{1} << 31)).substr(0, 11), "3 problems:");
}

}  // namespace
}  // namespace tinkex
