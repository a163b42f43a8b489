#include "tinkex/validate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace tinkex {
namespace {

/// The message, or "ok".
std::string outcome(const Status& status) {
  if (status.ok()) return "ok";
  EXPECT_EQ(status.error().code(), ErrorCode::kInvalidArgument);
  return status.error().message();
}

TEST(AdamParamsTest, DefaultsAndTheEdgesOfTheRangesPass) {
  EXPECT_EQ(outcome(validate(AdamParams{})), "ok");
  EXPECT_EQ(outcome(validate(AdamParams{.learning_rate = 0, .beta1 = 0, .beta2 = 0})), "ok");
}

TEST(AdamParamsTest, EachFieldOutOfRangeIsNamedWithItsValue) {
  EXPECT_EQ(
      outcome(validate(AdamParams{.learning_rate = NAN})),
      "learning_rate: expected a finite number of at least 0, got nan; 1e-4 is a usual value");
  EXPECT_EQ(outcome(validate(AdamParams{.beta1 = 1})),
            "beta1: expected a number in [0, 1), got 1; the default is 0.9");
  EXPECT_EQ(outcome(validate(AdamParams{.beta2 = NAN})),
            "beta2: expected a number in [0, 1), got nan; the default is 0.95");
  EXPECT_EQ(outcome(validate(AdamParams{.eps = 0})),
            "eps: expected a finite number above 0, got 0; 1e-8 and 1e-12 are usual");
  EXPECT_NE(outcome(validate(AdamParams{.learning_rate = -1e-4})), "ok");
  EXPECT_NE(outcome(validate(AdamParams{.learning_rate = INFINITY})), "ok");
  EXPECT_NE(outcome(validate(AdamParams{.weight_decay = -1})), "ok");
  EXPECT_NE(outcome(validate(AdamParams{.grad_clip_norm = INFINITY})), "ok");
}

TEST(AdamParamsTest, AllProblemsAreReportedAtOnce) {
  EXPECT_EQ(
      outcome(validate(AdamParams{.beta1 = 2, .eps = -1})),
      "2 problems: (1) beta1: expected a number in [0, 1), got 2; the default is 0.9 (2) eps: "
      "expected a finite number above 0, got -1; 1e-8 and 1e-12 are usual");
}

TEST(LoraConfigTest, RankAndWhatToTrain) {
  EXPECT_EQ(outcome(validate(LoraConfig{})), "ok");
  EXPECT_EQ(outcome(validate(LoraConfig{.rank = 1, .train_attn = false, .train_mlp = false})),
            "ok");
  EXPECT_EQ(outcome(validate(LoraConfig{.rank = 0})),
            "rank: expected at least 1, got 0; the default is 32");
  EXPECT_EQ(
      outcome(
          validate(LoraConfig{.train_attn = false, .train_mlp = false, .train_unembed = false})),
      "train_attn, train_mlp, train_unembed: expected at least one of them true, got none; without "
      "any of them there is nothing to train");
}

SamplingParams with(void (*change)(SamplingParams&)) {
  SamplingParams params;
  change(params);
  return params;
}

TEST(SamplingParamsTest, DefaultsAndTheEdgesOfTheRangesPass) {
  EXPECT_EQ(outcome(validate(SamplingParams{}, 1)), "ok");
  const SamplingParams edges = with([](SamplingParams& p) {
    p.max_tokens = 1;
    p.temperature = 0;
    p.top_k = 1;
    p.stop = {std::string("\n"), std::int64_t{0}, std::int64_t{2147483647}};
  });
  EXPECT_EQ(outcome(validate(edges, 1)), "ok");
  EXPECT_EQ(outcome(validate(with([](SamplingParams& p) { p.stop.emplace(); }), 1)), "ok");
}

TEST(SamplingParamsTest, EachFieldOutOfRangeIsNamedWithItsValue) {
  EXPECT_EQ(outcome(validate(SamplingParams{}, 0)),
            "num_samples: expected at least 1, got 0; ask for one sample or more");
  const auto bad = [](void (*change)(SamplingParams&)) {
    return outcome(validate(with(change), 1));
  };
  EXPECT_EQ(bad([](SamplingParams& p) { p.max_tokens = 0; }),
            "max_tokens: expected at least 1, got 0; leave it out for the server's limit");
  EXPECT_EQ(bad([](SamplingParams& p) { p.temperature = -0.5; }),
            "temperature: expected a finite number of at least 0, got -0.5; 0 takes the likeliest "
            "token");
  EXPECT_EQ(bad([](SamplingParams& p) { p.top_k = 0; }),
            "top_k: expected -1 or at least 1, got 0; -1 switches it off");
  EXPECT_EQ(bad([](SamplingParams& p) { p.top_p = 0; }),
            "top_p: expected a number in (0, 1], got 0; 1 switches it off");
  EXPECT_NE(bad([](SamplingParams& p) { p.top_p = NAN; }), "ok");
  EXPECT_EQ(bad([](SamplingParams& p) {
              p.stop = {std::string("a"), std::string()};
            }),
            "stop[1]: expected a text that is not empty, got an empty text; remove it");
  EXPECT_EQ(bad([](SamplingParams& p) { p.stop = {std::int64_t{-1}}; }),
            "stop[0]: expected a token id in [0, 2147483648), got -1; use an id of the model's own "
            "tokenizer");
}

TEST(SampleOptionsTest, NegativeTopkIsRefused) {
  EXPECT_EQ(outcome(validate(SampleOptions{})), "ok");
  EXPECT_NE(outcome(validate(SampleOptions{.topk_prompt_logprobs = -1})), "ok");
}

}  // namespace
}  // namespace tinkex
