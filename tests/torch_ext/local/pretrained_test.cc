// Models from folders and GGUF files: testdata/models, made by transformers, and changes of it.

#include "torch_ext/local/pretrained.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/local/folder_config.h"
#include "torch_ext/local/memory.h"

namespace tinkex::torch_ext::local::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const fs::path kData = "tests/torch_ext/local/testdata";

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
void write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

class PretrainedTest : public ::testing::Test {
 protected:
  /// A copy of a folder that may be spoilt.
  fs::path copy_of(const std::string& name) {
    const fs::path copy =
        fs::path(::testing::TempDir()) /
        (std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) + "-" + name);
    fs::remove_all(copy);
    fs::copy(kData / "models" / name, copy, fs::copy_options::recursive);
    for (const auto& entry : fs::recursive_directory_iterator(copy)) {
      fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
    }
    fs::permissions(copy, fs::perms::owner_all, fs::perm_options::add);
    return copy;
  }
  static void edit(const fs::path& file, const std::function<void(json&)>& change) {
    json document = json::parse(read(file));
    change(document);
    write(file, document.dump());
  }
  static std::string error_of(const fs::path& path) {
    const auto model = load_pretrained(path);
    return model ? "loaded" : model.error().message();
  }
  std::string error_with(const std::string& name, const std::function<void(json&)>& change) {
    const fs::path folder = copy_of(name);
    edit(folder / "config.json", change);
    return error_of(folder);
  }
};

TEST_F(PretrainedTest, AFolderAndAGgufFileOfOneModelAreEqual) {
  const auto folder = load_pretrained(kData / "models/llama").value();
  const auto gguf = load_pretrained(kData / "llama.gguf").value();
  EXPECT_EQ(folder->digest(), gguf->digest());
  EXPECT_EQ(folder->config().name, "llama");
  EXPECT_EQ(gguf->config().name, "llama");
  EXPECT_EQ(gguf->config().eos_token_ids, folder->config().eos_token_ids);
  const std::string text = "the weather is other than the rest";
  EXPECT_EQ(folder->tokenizer().encode(text), gguf->tokenizer().encode(text));
  EXPECT_LT(folder->tokenizer().encode(text).size(), text.size());
  EXPECT_EQ(folder->tokenizer().eos_token(), 270);
  EXPECT_EQ(folder->tokenizer().decode(folder->tokenizer().encode(text)), text);
}

TEST_F(PretrainedTest, TheEndsOfATextAreThoseOfTheGenerationConfig) {
  const fs::path folder = copy_of("llama");
  edit(folder / "generation_config.json", [](json& j) { j["eos_token_id"] = {3, 4}; });
  EXPECT_THAT(folder_config(folder)->eos_token_ids, ElementsAre(3, 4));
  fs::remove(folder / "generation_config.json");
  EXPECT_THAT(folder_config(folder)->eos_token_ids, ElementsAre(270));
}

TEST_F(PretrainedTest, OlderConfigurationsAreReadAsWell) {
  const fs::path folder = copy_of("llama3");
  const ModelConfig now = folder_config(folder).value();
  edit(folder / "config.json", [](json& j) {
    json rope = j["rope_parameters"];
    j.erase("rope_parameters");
    j["rope_theta"] = rope["rope_theta"];
    rope.erase("rope_theta");
    j["rope_scaling"] = rope;
  });
  const ModelConfig before = folder_config(folder).value();
  EXPECT_EQ(before.rope_theta, now.rope_theta);
  EXPECT_EQ(before.rope_divisors, now.rope_divisors);
  EXPECT_EQ(now.rope_divisors.size(), 2U);
}

TEST_F(PretrainedTest, ParametersAreCountedBeforeTheyAreLoaded) {
  for (const char* name : {"llama", "llama3", "qwen2", "qwen3"}) {
    const auto model = load_pretrained(kData / "models" / name).value();
    EXPECT_EQ(model->config().parameter_count(), static_cast<double>(model->parameter_count()));
  }
}

TEST_F(PretrainedTest, AModelThatDoesNotFitInMemoryIsRefused) {
  // Every size is allowed, and together they make 10^14 weights.
  EXPECT_THAT(error_with("llama",
                         [](json& j) {
                           j["intermediate_size"] = 16'000'000;
                           j["hidden_size"] = 1'000'000;
                         }),
              HasSubstr("MiB of memory are free; use a smaller model"));
}

TEST_F(PretrainedTest, TheMemoryOfAGroupCounts) {
  const fs::path root = fs::path(::testing::TempDir()) / "memory";
  fs::create_directories(root / "proc/self");
  fs::create_directories(root / "sys/fs/cgroup/a/b");
  EXPECT_EQ(available_memory(root), std::nullopt);
  write(root / "proc/meminfo", "MemTotal:  8000 kB\nMemFree: 10 kB\nMemAvailable:  4000 kB\n");
  EXPECT_EQ(available_memory(root), 4000u << 10);
  write(root / "proc/self/cgroup", "0::/a/b\n");
  write(root / "sys/fs/cgroup/a/b/memory.max", "max\n");
  write(root / "sys/fs/cgroup/a/b/memory.current", "5\n");
  EXPECT_EQ(available_memory(root), 4000u << 10);
  write(root / "sys/fs/cgroup/a/memory.max", "1000\n");
  write(root / "sys/fs/cgroup/a/memory.current", "400\n");
  EXPECT_EQ(available_memory(root), 600u);
}

TEST_F(PretrainedTest, WhatTheEngineDoesNotComputeIsRefusedByName) {
  EXPECT_THAT(error_with("llama", [](json& j) { j["model_type"] = "gpt2"; }),
              HasSubstr("model_type is 'gpt2', expected llama, qwen2 or qwen3"));
  EXPECT_THAT(error_with("llama", [](json& j) { j["attention_bias"] = true; }),
              HasSubstr("attention_bias is true"));
  EXPECT_THAT(error_with("llama", [](json& j) { j["mlp_bias"] = true; }), HasSubstr("mlp_bias"));
  EXPECT_THAT(error_with("llama", [](json& j) { j["hidden_act"] = "gelu"; }),
              HasSubstr("hidden_act is 'gelu', expected silu"));
  EXPECT_THAT(error_with("qwen2", [](json& j) { j["use_sliding_window"] = true; }),
              HasSubstr("use_sliding_window"));
  EXPECT_THAT(error_with("qwen3", [](json& j) { j["layer_types"][1] = "sliding_attention"; }),
              HasSubstr("layer_types"));
  EXPECT_THAT(error_with("llama",
                         [](json& j) {
                           j["quantization_config"] = {{"bits", 4}};
                         }),
              HasSubstr("quantised weights"));
  EXPECT_THAT(error_with("llama3", [](json& j) { j["rope_parameters"]["rope_type"] = "yarn"; }),
              HasSubstr("rope_parameters.rope_type is 'yarn', expected default, linear or llama3"));
  EXPECT_THAT(error_with("llama3", [](json& j) { j["rope_parameters"]["factor"] = 0; }),
              HasSubstr("rope_divisors must be positive numbers"));
}

TEST_F(PretrainedTest, AWrongConfigurationNamesFileAndField) {
  EXPECT_THAT(error_with("llama", [](json& j) { j.erase("hidden_size"); }),
              HasSubstr("config.json': hidden_size is missing"));
  EXPECT_THAT(error_with("llama", [](json& j) { j["vocab_size"] = "many"; }),
              HasSubstr("vocab_size is \"many\", expected a whole number"));
  EXPECT_THAT(error_with("llama", [](json& j) { j["num_hidden_layers"] = 1 << 30; }),
              HasSubstr("num_hidden_layers"));
  EXPECT_THAT(error_with("llama", [](json& j) { j["num_key_value_heads"] = 3; }),
              HasSubstr("must be a multiple"));
  EXPECT_THAT(error_with("llama", [](json& j) { j["vocab_size"] = 100; }),
              HasSubstr("eos_token_id 270 is outside the vocabulary"));
  EXPECT_THAT(error_with("llama",
                         [](json& j) {
                           j["eos_token_id"] = {1, "x"};
                         }),
              HasSubstr("eos_token_id"));
  const fs::path small = copy_of("qwen3");
  fs::remove(small / "generation_config.json");
  edit(small / "config.json", [](json& j) {
    j["vocab_size"] = 100;
    j["eos_token_id"] = 99;
  });
  EXPECT_THAT(error_of(small), HasSubstr("the tokenizer has 271 tokens, the model only 100"));
  const fs::path folder = copy_of("linear");
  write(folder / "config.json", R"({"model_type":"llama","model_type":"llama"})");
  EXPECT_THAT(error_of(folder), HasSubstr("gives a key twice"));
}

TEST_F(PretrainedTest, WeightsThatDoNotFitTheShapeAreNamed) {
  EXPECT_THAT(
      error_with("llama", [](json& j) { j["intermediate_size"] = 25; }),
      HasSubstr("model.layers.0.mlp.gate_proj.weight has shape [24, 16], expected [25, 16]"));
  EXPECT_THAT(error_with("llama", [](json& j) { j["num_hidden_layers"] = 3; }),
              HasSubstr("model.layers.2.input_layernorm.weight is missing"));
  EXPECT_THAT(error_with("llama", [](json& j) { j["num_hidden_layers"] = 1; }),
              HasSubstr("tensor 'model.layers.1.input_layernorm.weight' is not expected"));
}

TEST_F(PretrainedTest, APartOfAModelIsNamed) {
  const fs::path folder = copy_of("qwen2");
  fs::remove(folder / "model-00002-of-00003.safetensors");
  EXPECT_THAT(error_of(folder), HasSubstr("model-00002-of-00003.safetensors"));
  const fs::path escaping = copy_of("qwen2");
  edit(escaping / "model.safetensors.index.json",
       [](json& j) { j["weight_map"]["lm_head.weight"] = "../other.safetensors"; });
  EXPECT_THAT(error_of(escaping),
              HasSubstr("tensor 'lm_head.weight' is not in a file of this folder"));
  const fs::path moved = copy_of("qwen2");
  edit(moved / "model.safetensors.index.json", [](json& j) {
    j["weight_map"]["model.embed_tokens.weight"] = "model-00003-of-00003.safetensors";
  });
  EXPECT_THAT(error_of(moved), HasSubstr("tensor 'model.embed_tokens.weight' is missing"));
}

TEST_F(PretrainedTest, FilesThatAreMissingCutOffOrGarbageAreNamed) {
  EXPECT_THAT(error_of(kData / "models"), HasSubstr("config.json"));
  EXPECT_THAT(error_of(kData / "nothing"), HasSubstr("nothing"));
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    const fs::path missing = copy_of("llama");
    fs::remove(missing / name);
    EXPECT_THAT(error_of(missing), HasSubstr(name));
    for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{500}}) {
      const fs::path cut = copy_of("llama");
      write(cut / name, read(cut / name).substr(0, size));
      EXPECT_THAT(error_of(cut), HasSubstr(name)) << size;
    }
  }
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
