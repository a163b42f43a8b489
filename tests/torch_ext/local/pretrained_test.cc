// Models from folders and GGUF files: testdata/models, made by transformers, and changes of it.

#include "torch_ext/local/pretrained.h"

#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "tests/torch_ext/local/engine_testing.h"
#include "torch_ext/local/folder_config.h"
#include "torch_ext/local/memory.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
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
  // The group's cached files give way; what else it holds does not.
  write(root / "sys/fs/cgroup/a/memory.stat", "anon 90\ninactive_file 200\nactive_file 110\n");
  EXPECT_EQ(available_memory(root), 910u);
  write(root / "sys/fs/cgroup/a/memory.stat", "inactive_file 9000\n");
  EXPECT_EQ(available_memory(root), 1000u);
}

TEST_F(PretrainedTest, LoadingTakesMemoryForMoreThanTheWeights) {
  const ModelConfig config = folder_config(kData / "models/llama").value();
  const double numbers = config.parameter_count() + 64 * 6;
  EXPECT_EQ(memory_to_load(config, 4, 1000), 4 * numbers + 1000);
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
      AllOf(HasSubstr("tensor 'model.layers.0.mlp.gate_proj.weight' has shape [24, 16], expected "
                      "[25, 16]"),
            HasSubstr("tensor 'model.layers.1.mlp.up_proj.weight' has shape"),
            EndsWith("; is config.json right about intermediate_size?")));
  EXPECT_THAT(error_with("llama", [](json& j) { j["num_hidden_layers"] = 3; }),
              AllOf(HasSubstr("tensor 'model.layers.2.input_layernorm.weight' is missing"),
                    EndsWith("; is config.json right about num_hidden_layers?")));
  EXPECT_THAT(error_with("llama", [](json& j) { j["num_hidden_layers"] = 1; }),
              AllOf(HasSubstr("tensor 'model.layers.1.input_layernorm.weight' is not expected"),
                    EndsWith("; is config.json right about num_hidden_layers?")));
}

TEST_F(PretrainedTest, WeightsThatDoNotFitNameTheFieldsToLookAt) {
  const auto fields = [this](const char* model, const char* field, const auto& value) {
    const std::string error = error_with(model, [&](json& j) { j[field] = value; });
    const std::size_t at = error.find("; is config.json right about ");
    return at == std::string::npos ? error : error.substr(at + 29);
  };
  EXPECT_EQ(fields("llama", "head_dim", 2),
            "num_key_value_heads, head_dim, num_attention_heads?");  // Either may be wrong.
  EXPECT_EQ(fields("qwen3", "num_key_value_heads", 2), "num_key_value_heads, head_dim?");
  EXPECT_EQ(fields("qwen3", "vocab_size", 300), "vocab_size?");
  EXPECT_EQ(fields("qwen2", "model_type", "llama"), "model_type?");
  EXPECT_EQ(fields("llama", "model_type", "qwen3"), "model_type?");
}

TEST_F(PretrainedTest, TensorsAreComparedByTheirHeadersAndTheFirstFewNamed) {
  EXPECT_THAT(error_with("llama",
                         [](json& j) {
                           j["num_hidden_layers"] = 1 << 20;
                           for (const char* size : {"hidden_size", "intermediate_size"})
                             j[size] = 1;
                           j["num_attention_heads"] = j["num_key_value_heads"] = 1;
                         }),
              HasSubstr("it has 21 tensors for 1048576 layers (num_hidden_layers in config.json)"));
  const fs::path folder = copy_of("llama");
  const at::Tensor one = at::ones({1});
  write_safetensors(folder / "model.safetensors", {{"a", one}, {"b", one}}, {}).value();
  EXPECT_THAT(error_of(folder),
              AllOf(HasSubstr("tensor 'lm_head.weight' is missing"), HasSubstr("; and 15 more")));
}

TEST_F(PretrainedTest, IntegersAreNoWeights) {
  const fs::path folder = copy_of("llama");
  const auto file = SafetensorsFile::open(folder / "model.safetensors").value();
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const std::string& name : file.names()) {
    const at::Tensor tensor = file.read(name).value();
    tensors.emplace_back(name, name == "model.norm.weight" ? tensor.to(at::kLong) : tensor);
  }
  write_safetensors(folder / "model.safetensors", tensors, {}).value();
  EXPECT_THAT(error_of(folder), HasSubstr("tensor 'model.norm.weight' has type I64, expected F32, "
                                          "F16, BF16 or F64"));
}

TEST_F(PretrainedTest, APointerOfGitLfsIsCalledSo) {
  const fs::path folder = copy_of("llama");
  write(folder / "model.safetensors",
        "version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 5678\n");
  EXPECT_THAT(error_of(folder), AllOf(HasSubstr("model.safetensors': it begins as a pointer of Git "
                                                "LFS does"),
                                      HasSubstr("git lfs pull")));
}

TEST_F(PretrainedTest, ATokenizerIsReadWhateverItsModelIs) {
  const fs::path folder = copy_of("qwen3");
  fs::remove(folder / "model.safetensors");
  edit(folder / "config.json", [](json& j) {
    j["model_type"] = "qwen3_moe";
    j["use_sliding_window"] = true;
  });
  const auto tokenizer = load_tokenizer(folder).value();
  EXPECT_EQ(tokenizer->eos_token(), 270);
  EXPECT_EQ(tokenizer->vocab_size(), 271);
  edit(folder / "config.json", [](json& j) { j["vocab_size"] = 100; });
  EXPECT_THAT(load_tokenizer(folder).error().message(), HasSubstr("the model only 100"));

  std::string gguf = read(kData / "llama.gguf");
  const std::string key = "general.architecture";
  const std::size_t value = gguf.find(key) + key.size() + 4 + 8;
  ASSERT_EQ(gguf.substr(value, 5), "llama");
  const fs::path file = fs::path(::testing::TempDir()) / "gemma.gguf";
  write(file, gguf.replace(value, 5, "gemma"));
  EXPECT_EQ(load_tokenizer(file).value()->eos_token(), 270);
  EXPECT_THAT(error_of(file), HasSubstr("architecture 'gemma' is not supported"));
}

TEST_F(PretrainedTest, TheEndOfATextMayBeTheTokenizersOwn) {
  const fs::path folder = copy_of("llama");
  const fs::path file = folder / "tokenizer.json";
  const fs::path config = folder / "tokenizer_config.json";
  const std::string end = "<|end|>";  // 270
  EXPECT_EQ(load_tokenizer(file).value()->eos_token(), -1);
  for (const json& token : {json(end), json{{"content", end}}}) {
    write(config, json{{"eos_token", token}}.dump());
    EXPECT_EQ(load_tokenizer(file).value()->eos_token(), 270);
  }
  fs::remove(folder / "config.json");
  fs::remove(folder / "generation_config.json");
  EXPECT_EQ(load_tokenizer(folder).value()->eos_token(), 270);
  write(config, R"({"eos_token": "<|nowhere|>"})");
  EXPECT_THAT(load_tokenizer(file).error().message(),
              HasSubstr("eos_token '<|nowhere|>' is not in tokenizer.json"));
  write(config, R"({"eos_token": 5})");
  EXPECT_THAT(load_tokenizer(file).error().message(), HasSubstr("eos_token is no text"));
  write(config, R"({"eos_token": null})");
  EXPECT_EQ(load_tokenizer(file).value()->eos_token(), -1);
}

TEST_F(PretrainedTest, AModelIsCalledAfterThePathThatWasGiven) {
  const fs::path root = fs::path(::testing::TempDir()) / "names";
  fs::remove_all(root);
  fs::create_directories(root / "real");
  fs::create_directory_symlink(root / "real", root / "linked");
  EXPECT_EQ(model_name_of(root / "linked"), "linked");
  EXPECT_EQ(model_name_of(root / "linked/"), "linked");
  EXPECT_EQ(model_name_of(root / "real/../linked/."), "linked");
  EXPECT_EQ(model_name_of(root / "model.Q8_0.gguf"), "model.Q8_0");
  EXPECT_EQ(model_name_of("."), fs::current_path().filename());
}

TEST_F(PretrainedTest, LoadingEndsWhenItIsCalledOff) {
  std::stop_source stop;
  stop.request_stop();
  for (const fs::path& path : {kData / "models/llama", kData / "llama.gguf"}) {
    const auto model = load_pretrained(path, at::ScalarType::Float, stop.get_token());
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code(), ErrorCode::kCancelled);
  }
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

TEST_F(PretrainedTest, ATokenizerOfMoreThan64MiBIsRefused) {
  const fs::path folder = copy_of("llama");
  fs::resize_file(folder / "tokenizer.json", (std::uintmax_t{64} << 20) + 1);
  EXPECT_THAT(error_of(folder), HasSubstr("more than 67108864 bytes in"));
}

TEST_F(PretrainedTest, AFolderWithoutAModelIsToldWhatMakesOne) {
  const fs::path folder = copy_of("llama");
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    fs::remove(folder / name);
  }
  EXPECT_THAT(error_of(folder),
              AllOf(HasSubstr("'" + folder.string() +
                              "': is no folder of a model, it lacks "
                              "config.json, model.safetensors, tokenizer.json; expected "),
                    EndsWith("or a GGUF file: name such a folder or a .gguf file")));
  write(folder / "small.gguf", "");
  EXPECT_THAT(error_of(folder), EndsWith("GGUF file: name " + (folder / "small.gguf").string()));
  const fs::path bare = copy_of("qwen3");
  fs::remove(bare / "tokenizer.json");
  EXPECT_THAT(error_of(bare), HasSubstr("it lacks tokenizer.json; expected "));
}

TEST_F(PretrainedTest, APartThatCannotBeLookedAtIsNotSaidToBeLacking) {
  const fs::path folder = copy_of("llama");
  fs::remove(folder / "config.json");
  fs::create_symlink("config.json", folder / "config.json");  // As a missing permission is.
  EXPECT_THAT(error_of(folder),
              AllOf(HasSubstr("cannot look at '" + (folder / "config.json").string() + "'"),
                    ::testing::Not(HasSubstr("lacks"))));
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
