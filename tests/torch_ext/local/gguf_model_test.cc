// The same model in a GGUF and in a safetensors file: see testdata/make_gguf.py.

#include "torch_ext/local/gguf_model.h"

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local::testing {
namespace {

using ::testing::HasSubstr;

constexpr char kLlama[] = "tests/torch_ext/local/testdata/llama.gguf";
constexpr char kSafetensors[] = "tests/torch_ext/local/testdata/llama_lora.safetensors";

TEST(GgufModelTest, EveryWeightIsWhereHuggingFaceHasIt) {
  const GgufModel model = GgufModel::open(kLlama).value();
  const SafetensorsFile expected = SafetensorsFile::open(kSafetensors).value();
  EXPECT_EQ(model.names().size(), 21U);
  for (const std::string& name : model.names()) {
    ASSERT_TRUE(expected.contains(name)) << name;
    const at::Tensor own = model.read(name).value();
    EXPECT_EQ(own.scalar_type(), at::ScalarType::Float) << name;
    EXPECT_TRUE(at::equal(own, expected.read(name).value())) << name;
  }
}

TEST(GgufModelTest, ABaseModelIsMadeOfIt) {
  const GgufModel model = GgufModel::open(kLlama).value();
  const auto base = BaseModel::from_tensors(model.config(), [&](const std::string& name) {
    return model.contains(name) ? model.read(name).value() : at::Tensor();
  });
  ASSERT_TRUE(base) << base.error().message();
  EXPECT_EQ((*base)->config().name, "llama");
  EXPECT_EQ((*base)->parameter_count(), 5968);
}

TEST(GgufModelTest, AMissingWeightIsNamed) {
  const GgufModel model = GgufModel::open(kLlama).value();
  EXPECT_FALSE(model.contains("model.norm.bias"));
  const auto tensor = model.read("model.norm.bias");
  ASSERT_FALSE(tensor);
  EXPECT_THAT(tensor.error().message(), HasSubstr("weight 'model.norm.bias' is missing"));
}

TEST(GgufModelTest, WhatTheDecoderCannotDoIsRefused) {
  const auto refused = [](auto change) {
    ModelConfig config = small_config();
    change(config);
    const auto model = BaseModel::random(config, 1);
    return model ? std::string("accepted") : model.error().message();
  };
  EXPECT_THAT(refused([](ModelConfig& c) { c.attention_bias = true; }), HasSubstr("biases"));
  EXPECT_THAT(refused([](ModelConfig& c) { c.qk_norm = true; }), HasSubstr("normalised queries"));
  EXPECT_THAT(refused([](ModelConfig& c) { c.rope_divisors.assign(3, 2.0); }),
              HasSubstr("scaled rotary frequencies"));
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
