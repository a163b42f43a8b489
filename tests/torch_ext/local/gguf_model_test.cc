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
constexpr char kSafetensors[] = "tests/torch_ext/local/testdata/models/llama/model.safetensors";

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

TEST(GgufModelTest, AMissingWeightIsNamed) {
  const GgufModel model = GgufModel::open(kLlama).value();
  EXPECT_FALSE(model.contains("model.norm.bias"));
  const auto tensor = model.read("model.norm.bias");
  ASSERT_FALSE(tensor);
  EXPECT_THAT(tensor.error().message(), HasSubstr("weight 'model.norm.bias' is missing"));
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
