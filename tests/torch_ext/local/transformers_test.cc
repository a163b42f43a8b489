// The engine against Hugging Face transformers, PEFT and torch.optim.AdamW, for every family of
// models: see testdata/make_models.py.

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/local/checkpoint.h"
#include "torch_ext/local/pretrained.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local::testing {
namespace {

/// AdamParams of make_models.py.
const AdamParams kAdam{
    .learning_rate = 1e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-6, .weight_decay = 0.1};

class TransformersTest : public ::testing::TestWithParam<const char*> {
 protected:
  at::Tensor tensor(const std::string& name) const { return expected_.read(name).value(); }
  std::shared_ptr<const BaseModel> model(at::ScalarType dtype) const {
    return load_pretrained(folder_, dtype).value();
  }
  std::shared_ptr<const Adapter> adapter(const BaseModel& model, const std::string& prefix) const {
    const auto layout = LoraLayout::create(model.config(), rank(3)).value();
    at::Tensor flat = at::empty({layout->size()}, model.dtype());
    for (const LoraMatrix& m : layout->matrices()) {
      flat.narrow(0, m.offset, m.rows * m.cols).copy_(tensor(prefix + m.name).reshape({-1}));
    }
    return Adapter::from_flat(layout, flat);
  }
  template <class T>
  std::vector<T> values(const char* name) const {
    const at::Tensor t = tensor(name);
    return {t.const_data_ptr<T>(), t.const_data_ptr<T>() + t.numel()};
  }
  std::vector<Datum> data(bool magnitudes = false) const {
    std::vector<float> weights = values<float>("weights");
    if (magnitudes) {
      for (float& weight : weights) weight = std::abs(weight);
    }
    return {cross_entropy_datum(values<std::int64_t>("tokens"), values<std::int64_t>("targets"),
                                std::move(weights))};
  }
  std::vector<double> losses() const {
    return nlohmann::json::parse(expected_.metadata().at("losses"));
  }

  void expect_agreement(at::ScalarType dtype, double logprob_limit, double gradient_limit) const {
    const auto base = model(dtype);
    const auto own = adapter(*base, "");
    const PassOutput ours = pass(*base, *own, data());
    EXPECT_NEAR(ours.loss, std::stod(expected_.metadata().at("loss")), 40 * logprob_limit);
    const std::vector<float> theirs = values<float>("logprobs");
    ASSERT_EQ(ours.logprobs.front().size(), theirs.size());
    for (std::size_t i = 0; i < theirs.size(); ++i) {
      // An unlikely token's is a small difference of large numbers.
      EXPECT_NEAR(ours.logprobs.front()[i], theirs[i], logprob_limit - 1e-5 * theirs[i]) << i;
    }
    for (const LoraMatrix& m : own->layout().matrices()) {
      EXPECT_LT(relative_error(ours.gradient.narrow(0, m.offset, m.rows * m.cols),
                               tensor("grad." + m.name).reshape({-1})),
                gradient_limit)
          << m.name;
    }
  }

  void expect_same_steps(at::ScalarType dtype, double limit) const;

  const std::string folder_ = std::string("tests/torch_ext/local/testdata/models/") + GetParam();
  const SafetensorsFile expected_ =
      SafetensorsFile::open(folder_ + "/expected.safetensors").value();
};

TEST_P(TransformersTest, LogprobsLossAndGradientsAgreeInFloat64) {
  // transformers computes norms, angles and softmax in float32 in a float64 model too.
  expect_agreement(at::ScalarType::Double, 1e-4, 5e-5);
}

TEST_P(TransformersTest, LogprobsLossAndGradientsAgreeInFloat32) {
  expect_agreement(at::ScalarType::Float, 1e-4, 1e-4);
}

/// Ten steps, each with the loss of the same step there.
void TransformersTest::expect_same_steps(at::ScalarType dtype, double limit) const {
  const auto base = model(dtype);
  auto run = TrainingRun::create(base, rank(3)).value();
  const std::string start = ::testing::TempDir() + "/" + GetParam();
  const OptimizerState none;
  ASSERT_TRUE(write_checkpoint(start, *base, *adapter(*base, ""), rank(3), &none, true).ok());
  ASSERT_TRUE(run->load(start, false).ok());
  for (const double loss : losses()) {
    const auto output = run->forward_backward(data(true), loss::kCrossEntropy, {}, false);
    ASSERT_TRUE(output.ok()) << output.error().what();
    EXPECT_NEAR(output->metrics.at("loss:sum"), loss, limit);
    ASSERT_TRUE(run->optim_step(kAdam).ok());
  }
  const auto theirs = adapter(*base, "trained.");
  EXPECT_LT(relative_error(run->snapshot()->flat(), theirs->flat()), 1e-4);
}

TEST_P(TransformersTest, TenOptimizerStepsAgreeInFloat64) {
  expect_same_steps(at::ScalarType::Double, 2e-3);
}

TEST_P(TransformersTest, TenOptimizerStepsAgreeInFloat32) {
  // A loss of 261; AdamW divides by the roots of moments that are next to nothing for some
  // elements, so that a last bit grows.
  expect_same_steps(at::ScalarType::Float, 1e-2);
}

INSTANTIATE_TEST_SUITE_P(Families, TransformersTest,
                         ::testing::Values("llama", "llama3", "linear", "qwen2", "qwen3"),
                         [](const auto& family) { return std::string(family.param); });

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
