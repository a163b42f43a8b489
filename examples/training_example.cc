// The snippets of docs/training_client.md, as a test that trains on the embedded backend.

#include "tinkex/custom_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <iostream>
#include <numeric>
#include <utility>
#include <vector>

#include "tinkex/tokenizer.h"
#include "tinkex/validate.h"
#include "torch_ext/connect.h"

namespace {

double sum(const tinkex::TensorData& logprobs) {
  const std::vector<float> values = logprobs.to_floats();
  return std::accumulate(values.begin(), values.end(), 0.0);
}

/// Of each pair of examples, the first should be likelier than the second.
tinkex::Result<tinkex::CustomLossOutput> preference_loss(
    std::span<const tinkex::Datum>, std::span<const tinkex::TensorData> logprobs) {
  constexpr double kBeta = 0.1;
  tinkex::CustomLossOutput output;
  for (std::size_t i = 0; i + 1 < logprobs.size(); i += 2) {
    const double margin = kBeta * (sum(logprobs[i]) - sum(logprobs[i + 1]));
    output.loss += std::log1p(std::exp(-margin));
    const auto slope = static_cast<float>(kBeta / (1 + std::exp(margin)));
    const std::vector<float> up(logprobs[i].size(), -slope), down(logprobs[i + 1].size(), slope);
    output.gradients.push_back(tinkex::TensorData::from(up, logprobs[i].shape()));
    output.gradients.push_back(tinkex::TensorData::from(down, logprobs[i + 1].shape()));
    output.metrics["margin"] += margin;
  }
  return output;
}

tinkex::Datum example(const char* text) {
  const std::vector<std::int64_t> tokens = tinkex::ByteTokenizer().encode(text);
  tinkex::Datum datum;
  datum.model_input = tinkex::ModelInput::from_tokens({tokens.begin(), tokens.end() - 1});
  datum.loss_fn_inputs = {{"target_tokens", tinkex::TensorData::from(std::vector<std::int64_t>(
                                                tokens.begin() + 1, tokens.end()))}};
  return datum;
}

TEST(StepExample, AStepNeedsNoWaitBetweenItsTwoCalls) {
  auto connection = tinkex::torch_ext::connect().value();
  auto model = connection.service.create_lora_training_client("tinkex/nano", {.rank = 4, .seed = 1})
                   .get()
                   .value();
  const std::vector<tinkex::Datum> batch{example("good morning")};

  auto pass = model.forward_backward(batch, tinkex::loss::kCrossEntropy);
  auto update = model.optim_step({.learning_rate = 1e-4});
  const tinkex::Result<tinkex::ForwardBackwardOutput>& output = pass.get();

  ASSERT_TRUE(output.ok());
  EXPECT_GT(output->metrics.at("loss:sum"), 0);
  EXPECT_TRUE(update.get().ok());
}

TEST(SparseTargetsExample, AbsentEntriesCountNothing) {
  auto connection = tinkex::torch_ext::connect().value();
  auto model = connection.service.create_lora_training_client("tinkex/nano", {.rank = 4, .seed = 1})
                   .get()
                   .value();
  tinkex::Datum datum;
  datum.model_input = tinkex::ModelInput::from_tokens({7, 8, 9});

  // Two targets for the first token, none for the second, one for the third.
  const auto sparse = [](tinkex::TensorData values) {
    return tinkex::TensorData::sparse_csr(std::move(values), /*crow_indices=*/{0, 2, 2, 3},
                                          /*col_indices=*/{0, 1, 0}, /*shape=*/{3, 2})
        .value();
  };
  datum.loss_fn_inputs = {
      {"target_tokens", sparse(tinkex::TensorData::from(std::vector<std::int64_t>{8, 11, 10}))},
      {"weights", sparse(tinkex::TensorData::from(std::vector<float>{0.75F, 0.25F, 1}))}};

  tinkex::Datum dense = datum;
  dense.loss_fn_inputs = {
      {"target_tokens",
       tinkex::TensorData::from(std::vector<std::int64_t>{8, 11, 5, 5, 10, 5}, {3, 2})},
      {"weights", tinkex::TensorData::from(std::vector<float>{0.75F, 0.25F, 0, 0, 1, 0}, {3, 2})}};
  const auto loss = [&](const tinkex::Datum& one) {
    const auto output = model.forward({&one, 1}, tinkex::loss::kCrossEntropy).get().value();
    return output.metrics.at("loss:sum");
  };
  EXPECT_GT(loss(datum), 0);
  EXPECT_FLOAT_EQ(loss(datum), loss(dense));
}

TEST(CustomLossExample, PreferredTextsBecomeLikelier) {
  auto connection = tinkex::torch_ext::connect().value();
  auto model = connection.service.create_lora_training_client("tinkex/nano", {.rank = 4, .seed = 1})
                   .get()
                   .value();
  const std::vector<tinkex::Datum> pairs{example("good morning"), example("go away"),
                                         example("thank you"), example("no thanks")};

  auto pass = model.forward_backward_custom(pairs, preference_loss);
  auto update = model.optim_step({.learning_rate = 1e-2});
  const double before = pass.get().value().metrics.at("loss:sum");

  ASSERT_TRUE(update.get().ok());
  for (int step = 0; step < 10; ++step) {
    ASSERT_TRUE(model.forward_backward_custom(pairs, preference_loss).get().ok());
    ASSERT_TRUE(model.optim_step({.learning_rate = 1e-2}).get().ok());
  }
  const auto after = model.forward_backward_custom(pairs, preference_loss).get().value();
  EXPECT_GT(before, 0);
  EXPECT_LT(after.metrics.at("loss:sum"), 0.8 * before);
  EXPECT_GT(after.metrics.at("margin"), 0);
}

TEST(ValidationExample, ProblemsAreReportedWithTheirDatum) {
  std::vector<tinkex::Datum> batch{example("good"), example("bad")};
  batch[1].loss_fn_inputs.emplace_back("wieghts", tinkex::TensorData::from(std::vector<float>(2)));
  std::vector<std::size_t> bad;

  const tinkex::ProblemList found =
      tinkex::find_problems(batch, tinkex::loss::kCrossEntropy, {}, {.vocabulary_size = 512});
  for (const tinkex::Problem& problem : found.problems) {
    std::cerr << tinkex::to_string(problem) << '\n';
    if (problem.datum) bad.push_back(*problem.datum);
  }

  EXPECT_EQ(bad, std::vector<std::size_t>{1});
  EXPECT_TRUE(tinkex::validate({&batch[0], 1}, tinkex::loss::kCrossEntropy).ok());
}

}  // namespace
