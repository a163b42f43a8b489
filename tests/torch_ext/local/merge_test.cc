// Models with their adapters merged, against what transformers and PEFT compute: see
// testdata/make_models.py.

#include "torch_ext/local/merge.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/backend_errors.h"
#include "torch_ext/local/checkpoint.h"
#include "torch_ext/local/model_files.h"
#include "torch_ext/local/pretrained.h"
#include "torch_ext/local/rotary.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const fs::path kData = "tests/torch_ext/local/testdata";

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class MergeTest : public ::testing::TestWithParam<const char*> {
 protected:
  MergeTest() {
    std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    for (char& c : name) c = c == '/' ? '-' : c;
    root_ = fs::path(::testing::TempDir()) / ("merge-" + name);
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~MergeTest() override { fs::remove_all(root_); }

  /// A checkpoint of the adapter that make_models.py drew.
  fs::path checkpoint(const std::string& name, at::ScalarType dtype = at::ScalarType::Float,
                      bool unembed = true) const {
    const auto base = load_pretrained(kData / "models" / name, dtype).value();
    const auto expected = open_expected(name);
    LoraConfig lora = rank(3);
    lora.train_unembed = unembed;
    const auto layout = LoraLayout::create(base->config(), lora).value();
    at::Tensor flat = at::empty({layout->size()});
    for (const LoraMatrix& m : layout->matrices()) {
      flat.narrow(0, m.offset, m.rows * m.cols).copy_(expected.read(m.name)->reshape({-1}));
    }
    fs::path folder = root_ / (name + "-checkpoint");
    write_checkpoint(folder, *base, *Adapter::from_flat(layout, flat), lora, nullptr, true).value();
    return folder;
  }
  static SafetensorsFile open_expected(const std::string& name) {
    return SafetensorsFile::open(kData / "models" / name / "expected.safetensors").value();
  }
  template <class T>
  static std::vector<T> values(const SafetensorsFile& file, const char* name) {
    const at::Tensor t = file.read(name).value();
    return {t.const_data_ptr<T>(), t.const_data_ptr<T>() + t.numel()};
  }
  static std::vector<Datum> data(const SafetensorsFile& expected) {
    return {cross_entropy_datum(values<std::int64_t>(expected, "tokens"),
                                values<std::int64_t>(expected, "targets"),
                                values<float>(expected, "weights"))};
  }
  /// What a model gives without any adapter.
  static std::vector<std::vector<float>> plain_logprobs(const BaseModel& model,
                                                        const std::vector<Datum>& data) {
    const auto layout = LoraLayout::create(model.config(), rank(1)).value();
    const auto none = Adapter::random(layout, 1, model.compute_dtype());
    return pass(model, *none, data, "cross_entropy", /*with_gradient=*/false).logprobs;
  }
  fs::path out() const { return root_ / "merged"; }
  std::string error_of(const fs::path& base, const fs::path& from) const {
    const Status merged = merge_adapter(base, from, out(), at::ScalarType::Float);
    return merged ? "merged" : merged.error().message();
  }

  fs::path root_;
};

TEST_P(MergeTest, AMergedModelGivesTheLogprobsOfTheAdaptedOne) {
  const std::string name = GetParam();
  const fs::path base = kData / "models" / name;
  const Status merged = merge_adapter(base, checkpoint(name), out(), at::ScalarType::Float);
  ASSERT_TRUE(merged.ok()) << merged.error().what();
  const auto model = load_pretrained(out());
  ASSERT_TRUE(model.ok()) << model.error().what();
  const auto expected = open_expected(name);
  EXPECT_LT(
      largest_gap(plain_logprobs(**model, data(expected)), {values<float>(expected, "logprobs")}),
      1e-4);
  // The unembedding was adapted, so it is no longer the embedding.
  EXPECT_FALSE((*model)->config().tie_word_embeddings);
  for (const char* copied : {"tokenizer.json", "generation_config.json"}) {
    EXPECT_EQ(read(out() / copied), read(base / copied));
  }
}

TEST_P(MergeTest, OnlyWhatMustChangesInTheConfiguration) {
  const std::string name = GetParam();
  const fs::path base = kData / "models" / name;
  ASSERT_TRUE(merge_adapter(base, checkpoint(name), out(), at::ScalarType::BFloat16).ok());
  json before = json::parse(read(base / "config.json"));
  before["dtype"] = "bfloat16";
  before["tie_word_embeddings"] = false;
  EXPECT_EQ(json::parse(read(out() / "config.json")), before);
  const auto file = SafetensorsFile::open(out() / "model.safetensors").value();
  for (const std::string& tensor : file.names()) EXPECT_EQ(file.find(tensor)->dtype, "BF16");
}

INSTANTIATE_TEST_SUITE_P(Families, MergeTest,
                         ::testing::Values("llama", "llama3", "linear", "qwen2", "qwen3"),
                         [](const auto& family) { return std::string(family.param); });

TEST_F(MergeTest, AnUnembeddingThatWasNotAdaptedStaysTied) {
  const fs::path from = checkpoint("qwen3", at::ScalarType::Float, /*unembed=*/false);
  ASSERT_TRUE(merge_adapter(kData / "models/qwen3", from, out(), at::ScalarType::Float).ok());
  const auto model = load_pretrained(out()).value();
  EXPECT_TRUE(model->config().tie_word_embeddings);
  EXPECT_FALSE(SafetensorsFile::open(out() / "model.safetensors")->contains("lm_head.weight"));
  const auto base = load_pretrained(kData / "models/qwen3").value();
  const auto adapter = read_adapter(from, *base).value();
  const auto batch = data(open_expected("qwen3"));
  EXPECT_LT(largest_gap(plain_logprobs(*model, batch),
                        pass(*base, *adapter, batch, "cross_entropy", false).logprobs),
            1e-4);
}

TEST_F(MergeTest, ARunThatHeldItsBaseAsBfloat16IsRecognised) {
  const fs::path from = checkpoint("qwen2", at::ScalarType::BFloat16);
  const Status merged = merge_adapter(kData / "models/qwen2", from, out(), at::ScalarType::Float);
  EXPECT_TRUE(merged.ok()) << merged.error().what();
}

TEST_F(MergeTest, AGgufFileBecomesAFolderWithItsTokenizer) {
  const fs::path from = checkpoint("llama");  // the same model
  ASSERT_EQ(error_of(kData / "llama.gguf", from), "merged");
  const auto of_gguf = load_pretrained(out()).value();
  ASSERT_TRUE(merge_adapter(kData / "models/llama", from, root_ / "folder", at::ScalarType::Float));
  const auto of_folder = load_pretrained(root_ / "folder").value();
  EXPECT_EQ(of_gguf->digest(), of_folder->digest());
  EXPECT_EQ(of_gguf->config().eos_token_ids, of_folder->config().eos_token_ids);
  const std::string text = "the weather is other than 12 rests<|end|>";
  EXPECT_EQ(of_gguf->tokenizer().encode(text), of_folder->tokenizer().encode(text));
  EXPECT_EQ(json::parse(read(out() / "tokenizer_config.json")).at("eos_token"), "<|end|>");
}

TEST_F(MergeTest, WhatIsThereIsNeverReplaced) {
  const fs::path from = checkpoint("llama");
  fs::create_directory(out());
  EXPECT_THAT(error_of(kData / "models/llama", from),
              AllOf(HasSubstr("there already is"), HasSubstr(out().string())));
  EXPECT_TRUE(fs::is_empty(out()));
}

TEST_F(MergeTest, AnAdapterOfAnotherModelIsRefused) {
  const fs::path from = checkpoint("llama");
  EXPECT_THAT(error_of(kData / "models/linear", from),
              HasSubstr(std::string(kOtherBaseModel) + " 'llama' (digest "));
  EXPECT_FALSE(fs::exists(out()));
}

TEST_F(MergeTest, WhatIsDamagedIsNamedAndNothingIsLeft) {
  const fs::path from = checkpoint("llama");
  EXPECT_THAT(error_of(kData / "models", from), HasSubstr("config.json"));
  EXPECT_THAT(error_of(kData / "models/llama", root_ / "none"), HasSubstr("none"));
  const fs::path base = root_ / "base";
  fs::copy(kData / "models/llama", base);
  fs::permissions(base / "model.safetensors", fs::perms::owner_all);
  const at::Tensor one = at::ones({1});
  ASSERT_TRUE(write_safetensors(base / "model.safetensors", {{"a", one}, {"b", one}}, {}).ok());
  EXPECT_THAT(error_of(base, from), HasSubstr("tensor 'lm_head.weight' is missing"));
  std::ofstream(from / "adapter_model.safetensors", std::ios::app) << "x";
  EXPECT_THAT(error_of(kData / "models/llama", from),
              HasSubstr("adapter_model.safetensors' is damaged"));
  for (const auto& entry : fs::directory_iterator(root_)) {
    EXPECT_THAT(entry.path().filename().string(), ::testing::Not(HasSubstr(".tmp")));
  }
  EXPECT_FALSE(fs::exists(out()));
}

TEST_F(MergeTest, AFolderThatCannotBeMadeIsAnIoError) {
  const fs::path from = checkpoint("llama");
  const Status merged =
      merge_adapter(kData / "models/llama", from, "/proc/merged", at::ScalarType::Float);
  ASSERT_FALSE(merged.ok());
  EXPECT_EQ(merged.error().code(), ErrorCode::kIo);
}

ModelConfig gguf_shape() {
  ModelConfig config = small_config();
  config.family = "llama";
  config.attention_bias = false;
  return config;
}

TEST(ConfigJsonTest, RotaryScalingIsWrittenWhereItHasAName) {
  ModelConfig config = gguf_shape();
  const auto half = static_cast<std::size_t>(config.head_dim / 2);
  EXPECT_TRUE(config_json(config)->at("rope_scaling").is_null());
  config.rope_divisors.assign(half, 1);
  EXPECT_TRUE(config_json(config)->at("rope_scaling").is_null());
  config.rope_divisors.assign(half, 4);
  EXPECT_EQ(config_json(config)->at("rope_scaling"),
            (json{{"rope_type", "linear"}, {"factor", 4.0}}));
  config.head_dim = 64;
  config.rope_theta = 500000;
  config.rope_divisors = llama3_divisors({.factor = 32}, config.head_dim, config.rope_theta);
  for (double& each : config.rope_divisors) each = static_cast<float>(each);
  EXPECT_EQ(config_json(config)->at("rope_scaling"),
            (json{{"rope_type", "llama3"},
                  {"factor", 32.0},
                  {"low_freq_factor", 1.0},
                  {"high_freq_factor", 4.0},
                  {"original_max_position_embeddings", 8192}}));
}

TEST(ConfigJsonTest, WhatItCannotExpressIsRefused) {
  ModelConfig config = gguf_shape();
  config.rope_divisors.assign(static_cast<std::size_t>(config.head_dim / 2), 1);
  config.rope_divisors.back() = 3;
  EXPECT_THAT(config_json(config).error().message(), HasSubstr("rope_freqs.weight"));
  config = gguf_shape();
  config.attention_bias = true;
  EXPECT_THAT(config_json(config).error().message(), HasSubstr("a llama with biases"));
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
