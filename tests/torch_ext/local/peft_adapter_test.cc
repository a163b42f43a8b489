// Adapters as PEFT writes them: what a checkpoint's own two files hold, and changes of it.

#include "torch_ext/local/peft_adapter.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/local/checkpoint.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kQuery[] = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
constexpr char kHead[] = "base_model.model.lm_head.";

class PeftAdapterTest : public ::testing::Test {
 protected:
  using Tensors = std::map<std::string, at::Tensor>;

  PeftAdapterTest()
      : folder_(fs::path(::testing::TempDir()) /
                ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    fs::remove_all(folder_);
    write_checkpoint(folder_, *model_, *adapter_, rank(2), nullptr, false).value();
    fs::remove(folder_ / "metadata.json");  // PEFT writes none
    const auto file = SafetensorsFile::open(folder_ / kAdapterFile).value();
    for (const std::string& name : file.names()) tensors_[name] = file.read(name).value();
  }
  ~PeftAdapterTest() override { fs::remove_all(folder_); }

  Result<std::shared_ptr<const Adapter>> load() const {
    const auto config = read_peft_config(folder_);
    if (!config) return config.error();
    return read_peft_adapter(folder_, *config, *model_);
  }
  Result<std::shared_ptr<const Adapter>> load_with(const std::function<void(Tensors&)>& change) {
    Tensors changed = tensors_;
    change(changed);
    write_safetensors(folder_ / kAdapterFile, {changed.begin(), changed.end()}, {}).value();
    return load();
  }
  std::string error_with(const std::function<void(Tensors&)>& change) {
    const auto loaded = load_with(change);
    return loaded ? "loaded" : loaded.error().message();
  }
  /// The error of a changed adapter_config.json.
  std::string error_of(const json& changes) {
    const fs::path file = folder_ / kAdapterConfigFile;
    const json before = json::parse(std::ifstream(file));
    json config = before;
    config.update(changes);
    std::ofstream(file) << config;
    const auto loaded = load();
    std::ofstream(file) << before;
    if (loaded) return "loaded";
    EXPECT_THAT(loaded.error().message(), HasSubstr(folder_.string()));
    return loaded.error().message();
  }

  const std::shared_ptr<const BaseModel> model_ = small_model(at::ScalarType::Float);
  const std::shared_ptr<const Adapter> adapter_ = noisy_adapter(*model_, rank(2), 5);
  const fs::path folder_;
  Tensors tensors_;
};

TEST_F(PeftAdapterTest, AWholeAdapterComesBackBitwise) {
  const auto loaded = load();
  ASSERT_TRUE(loaded.ok()) << loaded.error().what();
  EXPECT_TRUE(bit_equal((*loaded)->flat(), adapter_->flat()));
  EXPECT_EQ(read_peft_config(folder_)->base_model, model_->config().name);
}

TEST_F(PeftAdapterTest, ItsTensorsTellWhatItTrains) {
  const auto without = [](const char* part) {
    return [part](Tensors& t) {
      std::erase_if(t, [&](const auto& e) { return e.first.find(part) != std::string::npos; });
    };
  };
  const LoraConfig attention_and_mlp = load_with(without("lm_head")).value()->layout().config();
  EXPECT_FALSE(attention_and_mlp.train_unembed);
  EXPECT_TRUE(attention_and_mlp.train_attn && attention_and_mlp.train_mlp);
  EXPECT_FALSE(load_with(without(".mlp.")).value()->layout().config().train_mlp);
  EXPECT_FALSE(load_with(without(".self_attn.")).value()->layout().config().train_attn);
  EXPECT_THAT(error_with(without("lora_")), HasSubstr("it has no LoRA matrices"));
}

TEST_F(PeftAdapterTest, HalfPrecisionAndTheHostedServicesNameOfTheUnembeddingAreRead) {
  const auto loaded = load_with([](Tensors& t) {
    for (const char* part : {"lora_A.weight", "lora_B.weight"}) {
      auto matrix = t.extract(std::string(kHead) + part);
      matrix.key() = std::string("base_model.model.model.unembed_tokens.") + part;
      t.insert(std::move(matrix));
    }
    for (auto& [name, tensor] : t) tensor = tensor.to(at::ScalarType::BFloat16);
  });
  ASSERT_TRUE(loaded.ok()) << loaded.error().what();
  EXPECT_LT(relative_error((*loaded)->flat(), adapter_->flat()), 1e-2);
}

TEST_F(PeftAdapterTest, EmbeddingsThatRepeatTheBaseAreTaken) {
  const std::string head = std::string(kHead) + "base_layer.weight";
  EXPECT_TRUE(load_with([&](Tensors& t) {
    t[head] = model_->unembed();
    t["base_model.model.model.embed_tokens.weight"] = model_->embedding();
  }));
  EXPECT_THAT(error_with([&](Tensors& t) { t[head] = at::zeros(model_->unembed().sizes()); }),
              AllOf(HasSubstr(head), HasSubstr("save_embedding_layers=False")));
  EXPECT_THAT(error_with([&](Tensors& t) { t[head] = at::ones({2, 2}); }), HasSubstr(head));
}

TEST_F(PeftAdapterTest, TensorsThatDoNotFitAreNamed) {
  EXPECT_THAT(error_with([](Tensors& t) { t.erase(kQuery); }),
              AllOf(HasSubstr(kAdapterFile), HasSubstr(kQuery), HasSubstr("is missing")));
  EXPECT_THAT(error_with([](Tensors& t) {
                t[kQuery] = at::zeros({2, 3});
              }),
              AllOf(HasSubstr(kQuery), HasSubstr("has shape [2, 3], expected [2, ")));
  EXPECT_THAT(error_with([](Tensors& t) { t[kQuery] = t[kQuery].to(at::ScalarType::Long); }),
              HasSubstr("has type I64, expected F32"));
  EXPECT_THAT(error_with([](Tensors& t) { t["other"] = at::ones({1}); }),
              HasSubstr("tensor 'other' is not expected"));
  EXPECT_THAT(error_of({{"r", 3}}), HasSubstr("has shape [2, "));
  EXPECT_THAT(error_of({{"r", 4096}}), HasSubstr("LoRA rank is 4096"));
}

TEST_F(PeftAdapterTest, HarmlessSettingsAreTaken) {
  EXPECT_EQ(error_of({{"lora_dropout", 0.1},
                      {"lora_alpha", 32.0},
                      {"init_lora_weights", "gaussian"},
                      {"target_modules", "all-linear"},
                      {"something_new", nullptr},
                      {"another", false},
                      {"peft_version", "0.21.2"},
                      {"modules_to_save", json::array()}}),
            "loaded");
}

TEST_F(PeftAdapterTest, WhatTheEngineDoesNotComputeIsNamed) {
  EXPECT_THAT(error_of({{"peft_type", "IA3"}}), HasSubstr("peft_type: is 'IA3', expected LORA"));
  EXPECT_THAT(error_of({{"lora_alpha", 16}}),
              HasSubstr("lora_alpha: is 16, but here it is always 32; train with that, or scale "
                        "every lora_B by 16 / 32 and write 32 here"));
  EXPECT_THAT(error_of({{"bias", "all"}}), HasSubstr("bias: is 'all', expected none"));
  EXPECT_THAT(error_of({{"r", "two"}}), HasSubstr("r: must be an integer"));
  EXPECT_THAT(error_of({{"init_lora_weights", "pissa"}}),
              HasSubstr("init_lora_weights: is \"pissa\", which changes the base"));
  for (const auto& [field, value] :
       std::map<std::string, json>{{"use_rslora", true},
                                   {"use_dora", true},
                                   {"fan_in_fan_out", true},
                                   {"rank_pattern", {{"q_proj", 4}}},
                                   {"alpha_pattern", {{"q_proj", 4}}},
                                   {"modules_to_save", {"embed_tokens"}},
                                   {"something_new", 1}}) {
    EXPECT_THAT(error_of({{field, value}}),
                AllOf(HasSubstr(field + ": is "), HasSubstr("does not compute")));
  }
}

TEST_F(PeftAdapterTest, AFileThatIsMissingOrNoJsonIsNamed) {
  fs::remove(folder_ / kAdapterFile);
  EXPECT_THAT(load().error().message(), HasSubstr(kAdapterFile));
  std::ofstream(folder_ / kAdapterConfigFile) << "[]";
  EXPECT_THAT(load().error().message(), HasSubstr(kAdapterConfigFile));
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
