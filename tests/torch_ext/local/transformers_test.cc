// The engine against Hugging Face transformers and PEFT: see testdata/make_llama_lora.py.

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local::testing {
namespace {

ModelConfig fixture_config() {
  ModelConfig config;
  config.name = "transformers/llama";
  config.vocab_size = 40;
  config.hidden_size = 16;
  config.intermediate_size = 24;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 6;
  config.max_position_embeddings = 32;
  return config;
}

class TransformersTest : public ::testing::Test {
 protected:
  at::Tensor tensor(const std::string& name) const {
    return file_.contains(name) ? file_.read(name).value() : at::Tensor();
  }
  std::shared_ptr<const BaseModel> model(at::ScalarType dtype) const {
    const auto source = [this](const std::string& name) { return tensor(name); };
    return BaseModel::from_tensors(fixture_config(), source, dtype).value();
  }
  std::shared_ptr<const Adapter> adapter(at::ScalarType dtype) const {
    const auto layout = LoraLayout::create(fixture_config(), rank(3)).value();
    at::Tensor flat = at::empty({layout->size()}, dtype);
    for (const LoraMatrix& m : layout->matrices()) {
      flat.narrow(0, m.offset, m.rows * m.cols).copy_(tensor(m.name).reshape({-1}));
    }
    return Adapter::from_flat(layout, flat);
  }
  std::vector<Datum> data() const {
    const auto ints = [this](const char* name) {
      const at::Tensor t = tensor(name);
      return std::vector<std::int64_t>(t.const_data_ptr<std::int64_t>(),
                                       t.const_data_ptr<std::int64_t>() + t.numel());
    };
    return {cross_entropy_datum(ints("tokens"), ints("targets"), floats("weights"))};
  }
  std::vector<float> floats(const char* name) const {
    const at::Tensor t = tensor(name);
    return {t.const_data_ptr<float>(), t.const_data_ptr<float>() + t.numel()};
  }
  void expect_agreement(at::ScalarType dtype, double logprob_limit, double gradient_limit) const {
    const auto own = adapter(dtype);
    const PassOutput ours = pass(*model(dtype), *own, data());
    EXPECT_NEAR(ours.loss, std::atof(file_.metadata().at("loss").c_str()), 10 * logprob_limit);
    EXPECT_LT(largest_gap(ours.logprobs, {floats("logprobs")}), logprob_limit);
    for (const LoraMatrix& m : own->layout().matrices()) {
      EXPECT_LT(relative_error(ours.gradient.narrow(0, m.offset, m.rows * m.cols),
                               tensor("grad." + m.name).reshape({-1})),
                gradient_limit)
          << m.name;
    }
  }

  SafetensorsFile file_ =
      SafetensorsFile::open("tests/torch_ext/local/testdata/llama_lora.safetensors").value();
};

TEST_F(TransformersTest, LogprobsLossAndGradientsAgreeInFloat64) {
  // transformers computes norms, angles and softmax in float32 in a float64 model too.
  expect_agreement(at::ScalarType::Double, 5e-6, 1e-5);
}

TEST_F(TransformersTest, LogprobsLossAndGradientsAgreeInFloat32) {
  expect_agreement(at::ScalarType::Float, 1e-4, 1e-4);
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
