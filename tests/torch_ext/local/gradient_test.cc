// The engine's forward and backward passes against finite differences and against autograd.

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "tests/torch_ext/local/reference_model.h"
#include "torch_ext/local/random.h"

namespace tinkex::torch_ext::local::testing {
namespace {

constexpr at::ScalarType kDouble = at::ScalarType::Double;
constexpr at::ScalarType kFloat = at::ScalarType::Float;
const std::vector<std::string> kLosses{
    "cross_entropy", "importance_sampling", "ppo", "cispo", "dro", "gspo"};

std::vector<Datum> batch_for(const std::string& loss, const BaseModel& model,
                             const Adapter& adapter) {
  std::vector<Datum> data = cross_entropy_batch(model.config().vocab_size, 3);
  if (loss == "cross_entropy") return data;
  data = policy_batch(data, pass(model, adapter, data, "cross_entropy", false).logprobs, 0.5F, 4);
  if (loss != "gspo") return data;
  for (Datum& datum : data) {  // All but every third position count in the ratio.
    const std::size_t length = datum.model_input.text_tokens().size();
    std::vector<float> mask(length, 1);
    for (std::size_t i = 1; i < length; i += 3) mask[i] = 0;
    datum.loss_fn_inputs.emplace_back("sequence_ratio_mask", TensorData::from(std::move(mask)));
  }
  return data;
}

double loss_at(const BaseModel& model, const Adapter& like, const at::Tensor& flat,
               const std::vector<Datum>& data, const std::string& loss, const LossConfig& config) {
  const auto moved = Adapter::from_flat(like.shared_layout(), flat);
  return pass(model, *moved, data, loss, false, config).loss;
}

void expect_central_differences(const std::string& loss, const LossConfig& config) {
  const auto model = small_model(kDouble);
  const auto adapter = noisy_adapter(*model, rank(4), 5);
  const std::vector<Datum> data = batch_for(loss, *model, *adapter);
  const at::Tensor gradient = pass(*model, *adapter, data, loss, true, config).gradient;
  const double h = 1e-5;
  for (const LoraMatrix& matrix : adapter->layout().matrices()) {
    for (const std::int64_t pick : random_tokens(4, matrix.rows * matrix.cols, 6)) {
      const std::int64_t index = matrix.offset + pick;
      at::Tensor up = adapter->flat().clone();
      at::Tensor down = adapter->flat().clone();
      up.mutable_data_ptr<double>()[index] += h;
      down.mutable_data_ptr<double>()[index] -= h;
      const double slope = (loss_at(*model, *adapter, up, data, loss, config) -
                            loss_at(*model, *adapter, down, data, loss, config)) /
                           (2 * h);
      const double ours = gradient.const_data_ptr<double>()[index];
      EXPECT_LT(std::abs(slope - ours), 1e-6 * (std::abs(slope) + std::abs(ours)) + 1e-8)
          << matrix.name << "[" << pick << "]: " << ours << " against " << slope;
    }
  }
}

class LossGradient : public ::testing::TestWithParam<std::string> {};

TEST_P(LossGradient, AgreesWithCentralDifferences) {
  if (GetParam() == "cispo") return;  // Its gradient is not that of its value; see the reference.
  expect_central_differences(GetParam(), {});
}

TEST(GradientTest, TemperatureIsPartOfTheGradient) {
  expect_central_differences("cross_entropy", {{"temperature", 1.7}});
  expect_central_differences("gspo", {{"temperature", 0.6}, {"clip_high_threshold", 3.0}});
}

TEST(GradientTest, TemperatureDividesTheLogits) {
  const auto model = small_model(kDouble);
  const auto adapter = noisy_adapter(*model, rank(4), 5);
  const auto logprob = [&](std::int64_t target, double temperature) {
    return pass(*model, *adapter, {cross_entropy_datum({3}, {target}, {1})}, "cross_entropy", false,
                {{"temperature", temperature}})
        .loss;
  };
  // Differences of log-probabilities are differences of logits.
  EXPECT_NEAR(logprob(7, 1) - logprob(9, 1), 4 * (logprob(7, 4) - logprob(9, 4)), 1e-9);
}

TEST_P(LossGradient, AgreesWithAutogradOverThePlainModel) {
  const ModelConfig config = small_config();
  const auto model = small_model(kDouble);
  const auto adapter = noisy_adapter(*model, rank(4), 7);
  const std::vector<Datum> data = batch_for(GetParam(), *model, *adapter);
  const ReferenceModel plain(config, random_weights(config, 1), adapter->layout());
  const ReferenceResult expected = reference_pass(plain, adapter->flat(), data, GetParam());
  for (const PassOptions& options :
       {PassOptions{1, 1}, PassOptions{20, 1}, PassOptions{4096, 1}, PassOptions{10, 3}}) {
    const PassOutput ours = pass(*model, *adapter, data, GetParam(), true, {}, options);
    EXPECT_NEAR(ours.loss, expected.loss, 1e-9);
    EXPECT_LT(largest_gap(ours.logprobs, expected.logprobs), 2e-6);  // Outputs are float32.
    for (const LoraMatrix& m : adapter->layout().matrices()) {
      EXPECT_LT(relative_error(ours.gradient.narrow(0, m.offset, m.rows * m.cols),
                               expected.gradient.narrow(0, m.offset, m.rows * m.cols)),
                1e-10)
          << m.name << ", budget " << options.token_budget << ", lanes " << options.lanes;
    }
  }
}

TEST_P(LossGradient, InFloat32StaysCloseToFloat64) {
  const auto exact_model = small_model(kDouble);
  const auto exact_adapter = noisy_adapter(*exact_model, rank(4), 8);
  const auto model = small_model(kFloat);
  const auto adapter =
      Adapter::from_flat(exact_adapter->shared_layout(), exact_adapter->flat().to(kFloat));
  const std::vector<Datum> data = batch_for(GetParam(), *exact_model, *exact_adapter);
  const PassOutput exact = pass(*exact_model, *exact_adapter, data, GetParam());
  const PassOutput ours = pass(*model, *adapter, data, GetParam());
  EXPECT_LT(largest_gap(ours.logprobs, exact.logprobs), 1e-4);
  for (const LoraMatrix& m : adapter->layout().matrices()) {
    EXPECT_LT(relative_error(ours.gradient.narrow(0, m.offset, m.rows * m.cols),
                             exact.gradient.narrow(0, m.offset, m.rows * m.cols)),
              1e-4)
        << m.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Losses, LossGradient, ::testing::ValuesIn(kLosses),
                         [](const auto& info) { return info.param; });

TEST(GradientTest, EveryCombinationOfTrainFlagsAgreesWithAutograd) {
  const ModelConfig config = small_config();
  const auto model = small_model(kDouble);
  const std::vector<Datum> data = cross_entropy_batch(config.vocab_size, 9);
  for (int flags = 1; flags < 8; ++flags) {
    LoraConfig lora = rank(3);
    lora.train_attn = (flags & 1) != 0;
    lora.train_mlp = (flags & 2) != 0;
    lora.train_unembed = (flags & 4) != 0;
    const auto adapter = noisy_adapter(*model, lora, 10);
    const ReferenceModel plain(config, random_weights(config, 1), adapter->layout());
    const ReferenceResult expected = reference_pass(plain, adapter->flat(), data, "cross_entropy");
    EXPECT_LT(relative_error(pass(*model, *adapter, data).gradient, expected.gradient), 1e-10)
        << "flags " << flags;
  }
}

TEST(GradientTest, SeveralTargetsPerPositionAgreeWithAutograd) {
  const ModelConfig config = small_config();
  const auto model = small_model(kDouble);
  const auto adapter = noisy_adapter(*model, rank(4), 11);
  Datum datum;
  datum.model_input = ModelInput::from_tokens(random_tokens(6, config.vocab_size, 12));
  datum.loss_fn_inputs.emplace_back(
      "target_tokens", TensorData::from(random_tokens(18, config.vocab_size, 13), {6, 3}));
  datum.loss_fn_inputs.emplace_back("weights",
                                    TensorData::from(random_floats(18, -1, 1, 14), {6, 3}));
  const std::vector<Datum> data{datum, cross_entropy_batch(config.vocab_size, 9)[0]};
  const ReferenceModel plain(config, random_weights(config, 1), adapter->layout());
  const ReferenceResult expected = reference_pass(plain, adapter->flat(), data, "cross_entropy");
  const PassOutput ours = pass(*model, *adapter, data);
  EXPECT_LT(largest_gap(ours.logprobs, expected.logprobs), 2e-6);
  EXPECT_LT(relative_error(ours.gradient, expected.gradient), 1e-10);
}

TEST(GradientTest, TiedEmbeddingsAgreeWithAutograd) {
  ModelConfig config = small_config();
  config.tie_word_embeddings = true;
  Weights weights = random_weights(config, 2);
  const auto model = model_of(config, weights, kDouble);
  weights["lm_head.weight"] = weights["model.embed_tokens.weight"];
  const auto adapter = noisy_adapter(*model, rank(4), 15);
  const std::vector<Datum> data = cross_entropy_batch(config.vocab_size, 16);
  const ReferenceModel plain(config, weights, adapter->layout());
  EXPECT_LT(relative_error(pass(*model, *adapter, data).gradient,
                           reference_pass(plain, adapter->flat(), data, "cross_entropy").gradient),
            1e-10);
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
