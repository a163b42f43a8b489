#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// How the weights of a model without pretrained weights are drawn. All are normal distributions.
struct InitConfig {
  double embedding_std = 1.0;
  /// Standard deviation of a projection is this over the square root of its input size.
  double linear_gain = 1.0;
  /// The same for the query and key projections: small, so that attention begins nearly uniform and
  /// learns where to look instead of unlearning a random choice.
  double query_key_gain = 1.0;
  /// The same for the two projections that write into the residual stream; 0 means
  /// 1 / sqrt(2 * num_hidden_layers), which keeps the stream's size independent of depth.
  double residual_gain = 0.0;
  /// The same for the output projection.
  double unembed_gain = 1.0;
};

/// Shape of a decoder-only transformer of the Llama kind. Field names are those of config.json.
struct ModelConfig {
  std::string name;
  /// What config.json calls its kind: llama, qwen2 or qwen3.
  std::string family = "llama";
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_hidden_layers = 0;
  std::int64_t num_attention_heads = 0;
  std::int64_t num_key_value_heads = 0;
  std::int64_t head_dim = 0;
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000.0;
  /// Divisors of the rotary frequencies, head_dim / 2 of them; empty means 1 each. Llama 3.1 and
  /// later stretch their context with them.
  std::vector<double> rope_divisors;
  /// Longest sequence in tokens, prompt and continuation together.
  std::int64_t max_position_embeddings = 0;
  /// Whether the output projection is the embedding matrix.
  bool tie_word_embeddings = false;
  /// Whether the projections of query, key and value add a bias, as in Qwen2.
  bool attention_bias = false;
  /// Whether each head of query and key is normalised before it is rotated, as in Qwen3.
  bool qk_norm = false;
  /// Tokens that end a sequence unless the request names its own stops.
  std::vector<std::int64_t> eos_token_ids;
  InitConfig init;

  std::int64_t query_size() const { return num_attention_heads * head_dim; }
  std::int64_t key_value_size() const { return num_key_value_heads * head_dim; }
  /// Weights of the model; a tied embedding counts once. Of a valid configuration; as a floating
  /// number, because the largest would not fit an integer.
  double parameter_count() const;
};

/// Refuses sizes that no model can have; the message names the field and its value.
Status validate(const ModelConfig& config);

/// What the model at a path is called: after its folder, or its file without the last extension.
/// Links are not followed, so the name is the one that was given.
std::string model_name_of(const std::filesystem::path& path);

/// Names of the models that need no files, the default one first.
std::vector<std::string> built_in_model_names();
/// The shape of a built-in model. An unknown name is refused with the list of known ones.
Result<ModelConfig> built_in_config(std::string_view name);

}  // namespace tinkex::torch_ext::local
