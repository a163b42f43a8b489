#include "torch_ext/local/sampler.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/local/pretrained.h"
#include "torch_ext/local/stop_rules.h"
#include "torch_ext/local/token_picker.h"

namespace tinkex::torch_ext::local::testing {
namespace {

using ::testing::HasSubstr;

class SamplerTest : public ::testing::Test {
 protected:
  SampleRequest request(std::int64_t prompt, std::int64_t max_tokens) const {
    SampleRequest out;
    out.prompt = ModelInput::from_tokens(random_tokens(prompt, model_->config().vocab_size, 60));
    out.params.max_tokens = max_tokens;
    out.params.seed = 11;
    out.params.stop.emplace();
    return out;
  }
  SampleResponse draw(const SampleRequest& request) const {
    return sample(model_, adapter_, request, nullptr).value();
  }
  std::string refusal(const SampleRequest& request) const {
    const auto result = sample(model_, adapter_, request, nullptr);
    if (result) return "accepted";
    EXPECT_EQ(result.error().code(), ErrorCode::kInvalidArgument);
    return result.error().message();
  }
  /// Logprobs of prompt and continuation by forward.
  std::vector<float> forward_logprobs(const SampleRequest& request,
                                      const SampledSequence& sequence) const {
    std::vector<std::int64_t> all = request.prompt.text_tokens();
    all.insert(all.end(), sequence.tokens.begin(), sequence.tokens.end());
    return pass(*model_, *adapter_,
                {cross_entropy_datum({all.begin(), all.end() - 1}, {all.begin() + 1, all.end()},
                                     std::vector<float>(all.size() - 1, 1))},
                "cross_entropy", false)
        .logprobs[0];
  }

  std::shared_ptr<const BaseModel> model_ = small_model(at::ScalarType::Float);
  std::shared_ptr<const Adapter> adapter_ = noisy_adapter(*model_, rank(4), 61);
};

TEST_F(SamplerTest, CachedDecodingAgreesWithTheFullForwardPass) {
  SampleRequest wanted = request(9, 20);
  wanted.num_samples = 3;
  wanted.options.prompt_logprobs = true;
  const SampleResponse response = draw(wanted);
  ASSERT_EQ(response.sequences.size(), 3U);
  for (const SampledSequence& sequence : response.sequences) {
    ASSERT_EQ(sequence.tokens.size(), 20U);
    const std::vector<float> expected = forward_logprobs(wanted, sequence);
    for (std::size_t i = 1; i < 9; ++i) {
      EXPECT_NEAR(response.prompt_logprobs[i], expected[i - 1], 1e-5);
    }
    for (std::size_t i = 0; i < 20; ++i) {
      EXPECT_NEAR(sequence.logprobs[i], expected[8 + i], 1e-5);
    }
  }
}

TEST_F(SamplerTest, LogprobsBelongToTheTemperatureBeforeTopKAndTopP) {
  SampleRequest wanted = request(5, 1);
  wanted.options.topk_prompt_logprobs = 0;
  wanted.params.temperature = 0.5;
  wanted.params.top_k = 2;
  wanted.params.top_p = 0.9;
  const SampledSequence sequence = draw(wanted).sequences[0];
  // The raw distribution at the last prompt position, from a prompt that is one token longer.
  SampleRequest longer = wanted;
  std::vector<std::int64_t> tokens = wanted.prompt.text_tokens();
  tokens.push_back(0);
  longer.prompt = ModelInput::from_tokens(tokens);
  longer.options.topk_prompt_logprobs = model_->config().vocab_size;
  double total = 0, own = 0;
  const SampleResponse raw = draw(longer);
  for (const auto& [id, p] : raw.topk_prompt_logprobs.back()) {
    const double scaled = 2.0 * static_cast<double>(p);
    total += std::exp(scaled);
    if (id == sequence.tokens[0]) own = scaled;
  }
  EXPECT_NEAR(sequence.logprobs[0], own - std::log(total), 1e-5);
}

TEST_F(SamplerTest, TopPromptLogprobsSumToOneOverTheVocabulary) {
  SampleRequest wanted = request(6, 1);
  wanted.options.topk_prompt_logprobs = model_->config().vocab_size;
  const SampleResponse response = draw(wanted);
  ASSERT_EQ(response.topk_prompt_logprobs.size(), 6U);
  EXPECT_TRUE(response.topk_prompt_logprobs[0].empty());
  EXPECT_TRUE(std::isnan(response.prompt_logprobs[0]));
  for (std::size_t i = 1; i < 6; ++i) {
    double sum = 0;
    for (const auto& [id, p] : response.topk_prompt_logprobs[i]) sum += std::exp(double{p});
    EXPECT_NEAR(sum, 1.0, 1e-5);
    const auto& best = response.topk_prompt_logprobs[i];
    EXPECT_TRUE(std::is_sorted(best.begin(), best.end(),
                               [](const auto& a, const auto& b) { return a.second > b.second; }));
  }
}

TEST_F(SamplerTest, SameSeedDrawsTheSameAndSamplesDiffer) {
  SampleRequest wanted = request(4, 16);
  wanted.num_samples = 4;
  const SampleResponse first = draw(wanted);
  const SampleResponse second = draw(wanted);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(first.sequences[i].tokens, second.sequences[i].tokens);
    EXPECT_EQ(first.sequences[i].logprobs, second.sequences[i].logprobs);
  }
  EXPECT_NE(first.sequences[0].tokens, first.sequences[1].tokens);
  wanted.params.seed = 12;
  EXPECT_NE(draw(wanted).sequences[0].tokens, first.sequences[0].tokens);
}

TEST_F(SamplerTest, SampleDoesNotDependOnItsNeighbours) {
  SampleRequest wanted = request(4, 16);
  const std::vector<std::int32_t> alone = draw(wanted).sequences[0].tokens;
  wanted.num_samples = 70;  // More than one decode group.
  EXPECT_EQ(draw(wanted).sequences[0].tokens, alone);
}

TEST_F(SamplerTest, TemperatureZeroTakesTheLikeliestToken) {
  SampleRequest wanted = request(5, 10);
  wanted.params.temperature = 0;
  wanted.num_samples = 2;
  const SampleResponse response = draw(wanted);
  EXPECT_EQ(response.sequences[0].tokens, response.sequences[1].tokens);
  SampleRequest check = wanted;
  std::vector<std::int64_t> all = wanted.prompt.text_tokens();
  for (const std::int32_t token : response.sequences[0].tokens) all.push_back(token);
  check.prompt = ModelInput::from_tokens(all);
  check.num_samples = 1;
  check.params.max_tokens = 1;
  check.options.topk_prompt_logprobs = 1;
  const SampleResponse checked = draw(check);
  for (std::size_t i = 5; i < all.size(); ++i) {
    EXPECT_EQ(checked.topk_prompt_logprobs[i][0].first, all[i]);
    EXPECT_NEAR(checked.prompt_logprobs[i], response.sequences[0].logprobs[i - 5], 1e-5);
  }
}

TEST_F(SamplerTest, WithoutMaxTokensASequenceFillsTheContext) {
  SampleRequest wanted = request(10, 1);
  wanted.params.max_tokens.reset();
  const SampledSequence sequence = draw(wanted).sequences[0];
  EXPECT_EQ(sequence.tokens.size(), 38U);
  EXPECT_EQ(sequence.stop_reason, StopReason::kLength);
}

TEST_F(SamplerTest, EndOfSequenceStopsUnlessStopIsEmpty) {
  SampleRequest wanted = request(4, 44);
  wanted.num_samples = 40;
  const SampleResponse endless = draw(wanted);
  for (const SampledSequence& s : endless.sequences) EXPECT_EQ(s.tokens.size(), 44U);
  wanted.params.stop.reset();
  const SampleResponse ending = draw(wanted);
  int stopped = 0;
  for (const SampledSequence& s : ending.sequences) {
    const bool ended = s.stop_reason == StopReason::kStop;
    stopped += ended ? 1 : 0;
    EXPECT_EQ(std::count(s.tokens.begin(), s.tokens.end(), 7), ended ? 1 : 0);
    EXPECT_EQ(s.tokens.back() == 7, ended);
    EXPECT_EQ(s.logprobs.size(), s.tokens.size());
  }
  EXPECT_GT(stopped, 3);
}

TEST_F(SamplerTest, StoppedNeighboursDoNotChangeTheOthers) {
  SampleRequest wanted = request(4, 30);
  wanted.num_samples = 8;
  const SampleResponse whole = draw(wanted);
  wanted.params.stop = {SamplingParams::Stop{whole.sequences[2].tokens[3]}};
  const SampleResponse cut = draw(wanted);
  for (std::size_t i = 0; i < 8; ++i) {
    const std::vector<std::int32_t>& tokens = cut.sequences[i].tokens;
    EXPECT_TRUE(std::equal(tokens.begin(), tokens.end(), whole.sequences[i].tokens.begin()));
  }
  EXPECT_LE(cut.sequences[2].tokens.size(), 4U);
}

TEST_F(SamplerTest, StopTextEndsAtTheTokenThatCompletesIt) {
  const auto model = built_in_model("tinkex/nano").value();
  SampleRequest wanted;
  wanted.prompt = ModelInput::from_tokens(std::vector<std::int64_t>{'a'});
  wanted.params.seed = 3;
  wanted.params.max_tokens = 40;
  wanted.params.stop.emplace();
  const SampledSequence whole = sample(model, nullptr, wanted, nullptr).value().sequences[0];
  // The first two bytes in a row that are a text on their own; so it does not occur earlier.
  std::size_t until = 2;
  const auto is_ascii = [&whole](std::size_t i) { return whole.tokens[i] < 128; };
  while (until < whole.tokens.size() && !(is_ascii(until - 2) && is_ascii(until - 1))) ++until;
  ASSERT_LT(until, whole.tokens.size()) << "choose another seed";
  const std::vector<std::int64_t> pair{whole.tokens.at(until - 2), whole.tokens.at(until - 1)};
  const std::string text = model->tokenizer().decode(pair);
  wanted.params.stop = {SamplingParams::Stop{text}};
  const SampledSequence cut = sample(model, nullptr, wanted, nullptr).value().sequences[0];
  EXPECT_EQ(cut.tokens.size(), until);
  EXPECT_EQ(cut.stop_reason, StopReason::kStop);
}

TEST_F(SamplerTest, BadRequestsAreNamed) {
  const auto with = [&](auto change) {
    SampleRequest wanted = request(4, 4);
    change(wanted);
    return refusal(wanted);
  };
  EXPECT_THAT(with([](auto& r) { r.prompt = {}; }), HasSubstr("prompt: there are no tokens"));
  EXPECT_THAT(with([](auto& r) { r.num_samples = 0; }),
              HasSubstr("num_samples: expected at least 1, got 0"));
  EXPECT_THAT(with([](auto& r) { r.num_samples = kMaxSamples + 1; }), HasSubstr("1 to 4096"));
  EXPECT_THAT(with([](auto& r) { r.params.max_tokens = 45; }), HasSubstr("45 more are wanted"));
  EXPECT_THAT(with([](auto& r) { r.params.max_tokens = 0; }),
              HasSubstr("max_tokens: expected at least 1"));
  EXPECT_THAT(with([](auto& r) { r.params.temperature = -1; }),
              HasSubstr("temperature: expected a finite"));
  EXPECT_THAT(with([](auto& r) { r.params.temperature = NAN; }), HasSubstr("got nan"));
  EXPECT_THAT(with([](auto& r) { r.params.top_p = 0; }),
              HasSubstr("top_p: expected a number in (0, 1], got 0"));
  EXPECT_THAT(with([](auto& r) { r.params.top_k = 0; }),
              HasSubstr("top_k: expected -1 or at least 1, got 0"));
  EXPECT_THAT(with([](auto& r) { r.options.topk_prompt_logprobs = -1; }),
              HasSubstr("topk_prompt_logprobs"));
  EXPECT_THAT(with([](auto& r) { r.options.topk_prompt_logprobs = 51; }),
              HasSubstr("'test/small' has 50 tokens; ask for that many at most"));
  EXPECT_THAT(with([](auto& r) { r.params.stop = {SamplingParams::Stop{std::string()}}; }),
              HasSubstr("stop[0]: expected a text that is not empty"));
  EXPECT_THAT(with([](auto& r) { r.params.stop = {SamplingParams::Stop{std::int64_t{50}}}; }),
              HasSubstr("token 50 is outside"));
}

TEST_F(SamplerTest, CancelledRequestEndsWithThatError) {
  const std::atomic<bool> cancelled = true;
  const auto result = sample(model_, adapter_, request(4, 40), &cancelled);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kCancelled);
}

TEST_F(SamplerTest, AdapterOfAnotherModelIsRefused) {
  const auto other = built_in_model("tinkex/nano").value();
  const auto result = sample(other, adapter_, request(4, 4), nullptr);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message(), HasSubstr("other shapes"));
}

/// How often each token is picked over a fine, even grid of u: the exact distribution.
std::map<std::int64_t, double> rates(const std::vector<double>& probabilities,
                                     const SamplingParams& params) {
  std::vector<double> logits;
  for (const double p : probabilities) logits.push_back(std::log(p));
  at::Tensor row = at::empty({1, static_cast<std::int64_t>(logits.size())}, at::ScalarType::Double);
  std::copy(logits.begin(), logits.end(), row.mutable_data_ptr<double>());
  const TokenPicker picker(params);
  const at::Tensor logprobs = picker.logprobs(row);
  std::map<std::int64_t, double> out;
  constexpr int kGrid = 20000;
  for (int i = 0; i < kGrid; ++i) {
    const double u = (i + 0.5) / kGrid;
    out[picker.pick(logprobs.const_data_ptr<double>(), row.size(1), u)] += 1.0 / kGrid;
  }
  return out;
}

void expect_rates(const std::map<std::int64_t, double>& got, std::vector<double> expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const auto found = got.find(static_cast<std::int64_t>(i));
    EXPECT_NEAR(found != got.end() ? found->second : 0.0, expected[i], 2e-4) << "token " << i;
  }
}

TEST(TokenPickerTest, DrawsExactlyTheDistributionThatItsParametersName) {
  const std::vector<double> p{0.1, 0.4, 0.05, 0.25, 0.2};
  SamplingParams params;
  expect_rates(rates(p, params), p);
  params.top_k = 2;
  expect_rates(rates(p, params), {0, 0.4 / 0.65, 0, 0.25 / 0.65, 0});
  params.top_k = -1;
  params.top_p = 0.7;  // 0.4 + 0.25 is not enough, so 0.2 joins.
  expect_rates(rates(p, params), {0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85});
  params.top_k = 3;
  params.top_p = 0.4;  // Of the three, 0.4 / 0.85 reaches it alone.
  expect_rates(rates(p, params), {0, 1, 0, 0, 0});
  params = {};
  params.temperature = 0.5;
  const double total = 0.01 + 0.16 + 0.0025 + 0.0625 + 0.04;
  expect_rates(rates(p, params),
               {0.01 / total, 0.16 / total, 0.0025 / total, 0.0625 / total, 0.04 / total});
}

TEST(TokenPickerTest, TiesGoToTheLowerId) {
  SamplingParams params;
  params.temperature = 0;
  expect_rates(rates({0.2, 0.4, 0.4}, params), {0, 1, 0});
  params.temperature = 1;
  params.top_k = 1;
  expect_rates(rates({0.2, 0.4, 0.4}, params), {0, 1, 0});
  params.top_k = -1;
  params.top_p = 1e-9;
  expect_rates(rates({0.2, 0.4, 0.4}, params), {0, 1, 0});
}

TEST(TokenPickerTest, LargeVocabularyIsCutAsASmallOne) {
  std::vector<double> p(1000, 1e-4);
  p[700] = 0.3;
  p[5] = 0.6002;
  SamplingParams params;
  params.top_p = 0.95;  // Needs 498 of the small ones: several rounds of sorting.
  const auto got = rates(p, params);
  EXPECT_NEAR(got.at(5), 0.6002 / 0.95, 1e-3);
  EXPECT_EQ(got.rbegin()->first, 700);
  EXPECT_NEAR(static_cast<double>(got.size()), 500, 2);
}

TEST_F(SamplerTest, FrequenciesPassAChiSquareTest) {
  SampleRequest wanted = request(5, 1);
  wanted.num_samples = 4000;
  const SampleResponse response = draw(wanted);
  std::map<std::int32_t, int> counts;
  std::map<std::int32_t, double> expected;
  for (const SampledSequence& s : response.sequences) {
    ++counts[s.tokens[0]];
    expected[s.tokens[0]] = 4000 * std::exp(double{s.logprobs[0]});
  }
  double chi_square = 0, rest_expected = 4000;
  int cells = 0, rest = 4000;
  for (const auto& [token, count] : counts) {
    if (expected[token] < 8) continue;
    chi_square += (count - expected[token]) * (count - expected[token]) / expected[token];
    rest_expected -= expected[token];
    rest -= count;
    ++cells;
  }
  chi_square += (rest - rest_expected) * (rest - rest_expected) / std::max(1.0, rest_expected);
  EXPECT_GT(cells, 8);
  // Mean `cells`, standard deviation sqrt(2 cells); the seed is fixed, so this never flickers.
  EXPECT_LT(chi_square, cells + 4 * std::sqrt(2.0 * cells));
}

TEST(StopRulesTest, TextIsFoundAcrossTokensAndOnlyWhole) {
  const ModelConfig config = built_in_config("tinkex/nano").value();
  const ByteTokenizer tokenizer;
  const StopRules rules =
      StopRules::create(std::vector<SamplingParams::Stop>{std::string("end"), std::string("\n\n")},
                        config)
          .value();
  const auto stops_at = [&](std::string_view text) {
    std::string tail;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (rules.stops(static_cast<unsigned char>(text[i]), tokenizer, tail)) return i;
    }
    return text.size();
  };
  EXPECT_EQ(stops_at("the eend."), 7U);
  EXPECT_EQ(stops_at("en\nd\n\nx"), 5U);
  EXPECT_EQ(stops_at("nothing"), 7U);
}

TEST(StopRulesTest, ASpecialTokenIsFoundByItsIdAndNotByItsText) {
  const auto tokenizer =
      load_tokenizer("tests/torch_ext/local/testdata/models/qwen3/tokenizer.json").value();
  const std::vector<std::int64_t> end = tokenizer->encode("<|end|>");
  ASSERT_EQ(end.size(), 1U);
  ModelConfig config = built_in_config("tinkex/nano").value();
  config.vocab_size = tokenizer->vocab_size();
  config.eos_token_ids.clear();
  const auto stops = [&](SamplingParams::Stop stop) {
    std::string tail;
    return StopRules::create(std::vector{std::move(stop)}, config)
        .value()
        .stops(end.front(), *tokenizer, tail);
  };
  EXPECT_FALSE(stops("<|end|>"));
  EXPECT_TRUE(stops(end.front()));
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
