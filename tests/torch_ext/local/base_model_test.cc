#include "torch_ext/local/base_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <new>
#include <string>

#include "tests/torch_ext/local/engine_testing.h"

namespace tinkex::torch_ext::local::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(BaseModelTest, BuiltInModelsAreAlwaysTheSame) {
  for (const std::string& name : built_in_model_names()) {
    const auto first = built_in_model(name).value();
    EXPECT_EQ(first->digest(), built_in_model(name).value()->digest());
    EXPECT_EQ(first->config().name, name);
  }
  const auto unknown = built_in_model("meta/llama");
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message(), HasSubstr("'meta/llama'; this server has 'tinkex/tiny'"));
}

TEST(BaseModelTest, MissingAndMisshapenWeightsAreAllNamed) {
  const ModelConfig config = small_config();
  Weights weights = random_weights(config, 1);
  weights.erase("model.norm.weight");
  weights["lm_head.weight"] = weights["lm_head.weight"].t();
  const auto source = [&](const std::string& name) {
    return weights.count(name) > 0 ? weights[name] : at::Tensor();
  };
  const auto model = BaseModel::from_tensors(config, source);
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().message(),
              AllOf(HasSubstr("tensor 'model.norm.weight' is missing"),
                    HasSubstr("tensor 'lm_head.weight' has shape [20, 50], expected [50, 20]")));
}

TEST(BaseModelTest, AModelForWhichThereIsNoMemoryIsNotCalledARequest) {
  const auto source = [](const std::string&) -> at::Tensor { throw std::bad_alloc(); };
  const auto model = BaseModel::from_tensors(small_config(), source, at::ScalarType::Float);
  ASSERT_FALSE(model);
  EXPECT_THAT(model.error().message(), HasSubstr("not enough memory to read the model's files"));
}

TEST(BaseModelTest, ImpossibleShapesAreRefused) {
  const auto message = [](auto change) {
    ModelConfig config = small_config();
    change(config);
    const Status status = validate(config);
    return status ? std::string("accepted") : status.error().message();
  };
  EXPECT_THAT(message([](ModelConfig& c) { c.hidden_size = 0; }), HasSubstr("hidden_size is 0"));
  EXPECT_THAT(message([](ModelConfig& c) { c.head_dim = 5; }), HasSubstr("head_dim is 5"));
  EXPECT_THAT(message([](ModelConfig& c) { c.num_key_value_heads = 3; }), HasSubstr("multiple"));
  EXPECT_THAT(message([](ModelConfig& c) { c.rope_theta = NAN; }), HasSubstr("rope_theta"));
  EXPECT_THAT(message([](ModelConfig& c) { c.eos_token_ids = {50}; }),
              HasSubstr("eos_token_id 50"));
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
