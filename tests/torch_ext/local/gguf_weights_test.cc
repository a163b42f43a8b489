#include "torch_ext/local/gguf_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/torch_ext/local/gguf_writer.h"
#include "torch_ext/local/gguf_config.h"
#include "torch_ext/local/gguf_vocabulary.h"

namespace tinkex::torch_ext::local::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A file of `architecture` with one layer and heads of 4, up to its special tensors.
GgufWriter tiny(const std::string& architecture) {
  GgufWriter file;
  file.text("general.architecture", architecture);
  for (const char* key :
       {"embedding_length", "context_length", "attention.key_length", "feed_forward_length"}) {
    file.uint32(architecture + "." + key, 4);
  }
  file.uint32(architecture + ".block_count", 1);
  file.uint32(architecture + ".attention.head_count", 2);
  file.float32(architecture + ".attention.layer_norm_rms_epsilon", 1e-6F);
  file.float32(architecture + ".rope.freq_base", 1e6F);
  file.counting_tensor("token_embd.weight", {5, 4});
  file.counting_tensor("output_norm.weight", {4});
  for (const char* name : {"attn_norm", "ffn_norm"}) {
    file.counting_tensor(std::string("blk.0.") + name + ".weight", {4});
  }
  for (const char* name : {"attn_q", "attn_k", "attn_v"}) {
    file.counting_tensor(std::string("blk.0.") + name + ".weight", {8, 4});
  }
  file.counting_tensor("blk.0.attn_output.weight", {4, 8});
  for (const char* name : {"ffn_gate", "ffn_up", "ffn_down"}) {
    file.counting_tensor(std::string("blk.0.") + name + ".weight", {4, 4});
  }
  return file;
}

std::string config_error(const GgufWriter& file) {
  const auto config = gguf_config(*parsed(file.bytes()).value());
  return config ? "accepted" : config.error().message();
}

std::string weights_error(const GgufWriter& writer) {
  const auto file = parsed(writer.bytes()).value();
  const auto weights = gguf_weights(*file, gguf_config(*file).value());
  return weights ? "accepted" : weights.error().message();
}

std::vector<float> weight(const GgufWriter& writer, const std::string& name) {
  const auto file = parsed(writer.bytes()).value();
  const auto weights = gguf_weights(*file, gguf_config(*file).value()).value();
  const auto found = std::find_if(weights.begin(), weights.end(),
                                  [&](const GgufWeight& each) { return each.name == name; });
  if (found == weights.end()) return {};
  std::vector<float> numbers(static_cast<std::size_t>(found->tensor->elements()));
  widen(*file, *found, numbers).value();
  return numbers;
}

TEST(GgufConfigTest, ALlamaIsDescribed) {
  const ModelConfig config = gguf_config(*parsed(tiny_llama().bytes()).value()).value();
  EXPECT_EQ(config.name, "test");
  EXPECT_EQ(config.vocab_size, 5);
  EXPECT_EQ(config.hidden_size, 8);
  EXPECT_EQ(config.intermediate_size, 6);
  EXPECT_EQ(config.num_hidden_layers, 1);
  EXPECT_EQ(config.num_attention_heads, 2);
  EXPECT_EQ(config.num_key_value_heads, 1);
  EXPECT_EQ(config.head_dim, 4);
  EXPECT_EQ(config.max_position_embeddings, 16);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_EQ(config.rope_theta, 10000.0);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_FALSE(config.attention_bias);
  EXPECT_FALSE(config.qk_norm);
  EXPECT_THAT(config.rope_divisors, IsEmpty());
  EXPECT_THAT(config.eos_token_ids, ElementsAre(2));
}

TEST(GgufConfigTest, TheQwensAreDescribed) {
  GgufWriter file = tiny("qwen2");
  file.uint32("tokenizer.ggml.eos_token_id", 4).uint32("tokenizer.ggml.eot_token_id", 3);
  const ModelConfig second = gguf_config(*parsed(file.bytes()).value()).value();
  EXPECT_TRUE(second.attention_bias);
  EXPECT_FALSE(second.qk_norm);
  EXPECT_EQ(second.num_key_value_heads, 2);
  EXPECT_EQ(second.rope_theta, 1e6);
  EXPECT_THAT(second.eos_token_ids, ElementsAre(4, 3));

  file = tiny("qwen3");
  file.counting_tensor("output.weight", {5, 4});
  const ModelConfig third = gguf_config(*parsed(file.bytes()).value()).value();
  EXPECT_FALSE(third.attention_bias);
  EXPECT_TRUE(third.qk_norm);
  EXPECT_EQ(third.head_dim, 4);
  EXPECT_FALSE(third.tie_word_embeddings);
}

TEST(GgufConfigTest, WhatIsNotSupportedIsRefusedByName) {
  EXPECT_THAT(config_error(GgufWriter()), HasSubstr("'general.architecture' is missing"));
  EXPECT_THAT(config_error(tiny("gemma3")),
              HasSubstr("architecture 'gemma3' is not supported; expected llama, qwen2 or qwen3"));
  const auto llama = [](auto change) {
    GgufWriter file = tiny_llama();
    change(file);
    return config_error(file);
  };
  EXPECT_THAT(llama([](GgufWriter& f) { f.text("llama.rope.scaling.type", "yarn"); }),
              HasSubstr("scaling of rotary positions by 'yarn'"));
  EXPECT_EQ(llama([](GgufWriter& f) { f.text("llama.rope.scaling.type", "none"); }), "accepted");
  EXPECT_THAT(llama([](GgufWriter& f) { f.uint32("split.count", 2); }), HasSubstr("split model"));
  EXPECT_THAT(llama([](GgufWriter& f) { f.uint32("llama.rope.dimension_count", 2); }),
              HasSubstr("'llama.rope.dimension_count' is 2, but heads have 4 dimensions"));
  EXPECT_THAT(llama([](GgufWriter& f) { f.uint32("llama.attention.value_length", 8); }),
              HasSubstr("'llama.attention.value_length' is 8"));
  EXPECT_THAT(llama([](GgufWriter& f) { f.uint32("tokenizer.ggml.eot_token_id", 5); }),
              HasSubstr("eos_token_id 5 is outside the vocabulary"));
  EXPECT_THAT(llama([](GgufWriter& f) { f.text("llama.rope.freq_base", "10000"); }),
              HasSubstr("'llama.rope.freq_base' has type string"));
}

TEST(GgufConfigTest, SizesThatNoFileHoldsAreRefused) {
  const auto with = [](const char* key, std::uint32_t number) {
    GgufWriter file;
    file.text("general.architecture", "llama").counting_tensor("token_embd.weight", {5, 8});
    file.float32("llama.attention.layer_norm_rms_epsilon", 1e-5F);
    for (const char* each : {"block_count", "context_length", "embedding_length",
                             "feed_forward_length", "attention.head_count"}) {
      file.uint32(std::string("llama.") + each, each == std::string(key) ? number : 1);
    }
    file.uint32("llama.attention.key_length", 2);
    return config_error(file);
  };
  EXPECT_EQ(with("none", 0), "accepted");
  EXPECT_THAT(with("block_count", 4'000'000'000), HasSubstr("1 tensors for 4000000000 layers"));
  EXPECT_THAT(with("context_length", 4'000'000'000),
              HasSubstr("max_position_embeddings is 4000000000"));
  EXPECT_THAT(with("attention.head_count", 0), HasSubstr("num_attention_heads is 0"));
}

TEST(GgufConfigTest, DivisorsOfRotaryFrequenciesAreTaken) {
  GgufWriter file = tiny_llama();
  file.counting_tensor("rope_freqs.weight", {2});
  const ModelConfig config = gguf_config(*parsed(file.bytes()).value()).value();
  EXPECT_THAT(config.rope_divisors, ElementsAre(1.0, 2.0));
  EXPECT_EQ(weights_error(file), "accepted");
  file = tiny_llama();
  file.counting_tensor("rope_freqs.weight", {3});
  EXPECT_THAT(config_error(file), HasSubstr("rope_divisors has 3 numbers, expected 2"));
}

TEST(GgufConfigTest, LinearFactorsOfRotaryPositionsAreTaken) {
  const auto divisors = [](auto change) {
    GgufWriter file = tiny_llama();
    change(file);
    return gguf_config(*parsed(file.bytes()).value()).value().rope_divisors;
  };
  const std::string scaling = "llama.rope.scaling.";
  // As in llama.cpp, linear is what is meant without a type.
  EXPECT_THAT(divisors([&](GgufWriter& f) { f.float32(scaling + "factor", 2.5); }),
              ElementsAre(2.5, 2.5));
  EXPECT_THAT(divisors([&](GgufWriter& f) {
                f.text(scaling + "type", "linear").float32(scaling + "factor", 4);
              }),
              ElementsAre(4.0, 4.0));
  EXPECT_THAT(divisors([](GgufWriter& f) { f.float32("llama.rope.scale_linear", 2); }),
              ElementsAre(2.0, 2.0));
  EXPECT_THAT(divisors([&](GgufWriter& f) {
                f.counting_tensor("rope_freqs.weight", {2}).float32(scaling + "factor", 2);
              }),
              ElementsAre(2.0, 4.0));
  EXPECT_THAT(divisors([&](GgufWriter& f) {
                f.text(scaling + "type", "none").float32(scaling + "factor", 4);
              }),
              IsEmpty());
  EXPECT_THAT(divisors([&](GgufWriter& f) { f.float32(scaling + "factor", 0); }), IsEmpty());
  EXPECT_THAT(divisors([&](GgufWriter& f) { f.float32(scaling + "factor", 1); }), IsEmpty());
  GgufWriter negative = tiny_llama();
  negative.float32(scaling + "factor", -2);
  EXPECT_THAT(config_error(negative), HasSubstr("rope_divisors must be positive numbers"));
}

TEST(GgufVocabularyTest, AnotherKindOfTokenizerIsRefusedByName) {
  const auto file = parsed(GgufWriter().text("tokenizer.ggml.model", "llama").bytes()).value();
  const auto vocabulary = gguf_vocabulary(*file);
  ASSERT_FALSE(vocabulary);
  EXPECT_EQ(vocabulary.error().message(),
            "GGUF file 'test.gguf': the tokenizer model 'llama' is not supported; only gpt2, "
            "byte-level BPE, is");
}

TEST(GgufWeightsTest, RowsOfLlamasQueriesAndKeysAreReordered) {
  const auto rows = [](const std::vector<float>& numbers) {
    std::vector<int> rows;
    for (std::size_t i = 0; i < numbers.size(); i += 8) {
      rows.push_back((static_cast<int>(numbers[i]) - 1) / 8);
    }
    return rows;
  };
  const std::string attention = "model.layers.0.self_attn.";
  EXPECT_THAT(rows(weight(tiny_llama(), attention + "q_proj.weight")),
              ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
  EXPECT_THAT(rows(weight(tiny_llama(), attention + "k_proj.weight")), ElementsAre(0, 2, 1, 3));
  EXPECT_THAT(rows(weight(tiny_llama(), attention + "v_proj.weight")), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(rows(weight(tiny_llama(), attention + "o_proj.weight")),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST(GgufWeightsTest, BiasesOfALlamaAreReorderedToo) {
  GgufWriter file = tiny_llama();
  file.counting_tensor("blk.0.attn_q.bias", {8}).counting_tensor("blk.0.attn_k.bias", {4});
  file.counting_tensor("blk.0.attn_v.bias", {4});
  const std::string attention = "model.layers.0.self_attn.";
  EXPECT_THAT(weight(file, attention + "q_proj.bias"), ElementsAre(1, 3, 2, 4, 5, 7, 6, 8));
  EXPECT_THAT(weight(file, attention + "k_proj.bias"), ElementsAre(1, 3, 2, 4));
  EXPECT_THAT(weight(file, attention + "v_proj.bias"), ElementsAre(1, 2, 3, 4));
}

TEST(GgufWeightsTest, RowsOfTheQwensStayWhereTheyAre) {
  GgufWriter second = tiny("qwen2");
  for (const char* name : {"attn_q", "attn_k", "attn_v"}) {
    second.counting_tensor(std::string("blk.0.") + name + ".bias", {8});
  }
  const std::string attention = "model.layers.0.self_attn.";
  EXPECT_THAT(weight(second, attention + "k_proj.bias"), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
  GgufWriter third = tiny("qwen3");
  third.counting_tensor("blk.0.attn_q_norm.weight", {4});
  third.counting_tensor("blk.0.attn_k_norm.weight", {4});
  third.counting_tensor("output.weight", {5, 4});
  EXPECT_THAT(weight(third, attention + "q_norm.weight"), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(weight(third, attention + "q_proj.weight")[4], 5.0F);
  EXPECT_EQ(weight(third, "lm_head.weight").size(), 20U);
}

TEST(GgufWeightsTest, QuantisedRowsAreReorderedWhole) {
  GgufWriter file;
  file.text("general.architecture", "llama");
  for (const char* key : {"embedding_length", "context_length", "feed_forward_length"}) {
    file.uint32(std::string("llama.") + key, 32);
  }
  file.uint32("llama.block_count", 1).uint32("llama.attention.head_count", 8);
  file.float32("llama.attention.layer_norm_rms_epsilon", 1e-6F);
  for (const char* name :
       {"token_embd", "blk.0.attn_q", "blk.0.attn_k", "blk.0.attn_v", "blk.0.attn_output",
        "blk.0.ffn_gate", "blk.0.ffn_up", "blk.0.ffn_down"}) {
    std::string rows;
    for (char row = 0; row < 32; ++row) rows += raw(std::uint16_t{0x3C00}) + std::string(32, row);
    file.tensor(std::string(name) + ".weight", {32, 32}, 8, rows);
  }
  for (const char* name : {"blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"}) {
    file.counting_tensor(std::string(name) + ".weight", {32});
  }
  const std::vector<float> q = weight(file, "model.layers.0.self_attn.q_proj.weight");
  for (std::size_t i = 0; i < q.size(); ++i) {
    const std::size_t row = i / 32;
    const std::size_t expected[] = {0, 2, 1, 3};
    EXPECT_EQ(q[i], static_cast<float>(row / 4 * 4 + expected[row % 4])) << i;
  }
}

TEST(GgufWeightsTest, EveryTensorThatDoesNotFitIsNamed) {
  EXPECT_THAT(weights_error(tiny("qwen2")),
              AllOf(HasSubstr("tensor 'blk.0.attn_q.bias' is missing"),
                    HasSubstr("tensor 'blk.0.attn_v.bias' is missing")));
  GgufWriter file = tiny_llama();
  file.counting_tensor("output.weight", {5, 4}).counting_tensor("blk.0.ffn_up.bias", {6});
  EXPECT_EQ(weights_error(file),
            "GGUF file 'test.gguf': tensor 'output.weight' has shape [5, 4], expected [5, 8]; "
            "tensor 'blk.0.ffn_up.bias' is not expected");
  file = tiny_llama();
  file.tensor("output.weight", {5, 8}, 26, std::string(160, '\0'));
  EXPECT_THAT(weights_error(file),
              HasSubstr("tensor 'output.weight' has type I32, which cannot be read; expected F32"));
  file = tiny_llama();
  for (int i = 0; i < 20; ++i) file.counting_tensor("extra" + std::to_string(i), {1});
  EXPECT_THAT(weights_error(file), AllOf(HasSubstr("'extra7' is not expected; and 12 more")));
}

}  // namespace
}  // namespace tinkex::torch_ext::local::testing
