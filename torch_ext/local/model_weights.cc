#include "torch_ext/local/model_weights.h"

#include <algorithm>

#include "tinkex/base/shape.h"
#include "tinkex/base/text.h"

namespace tinkex::torch_ext::local {
namespace {

constexpr std::size_t kNamedProblems = 8;
constexpr std::string_view kLayers = "model.layers.";

void add_layer(WeightShapes& to, const ModelConfig& c, const std::string& layer) {
  const std::string attention = layer + "self_attn.";
  const std::string mlp = layer + "mlp.";
  to[layer + "input_layernorm.weight"] = {c.hidden_size};
  to[attention + "q_proj.weight"] = {c.query_size(), c.hidden_size};
  to[attention + "k_proj.weight"] = {c.key_value_size(), c.hidden_size};
  to[attention + "v_proj.weight"] = {c.key_value_size(), c.hidden_size};
  if (c.attention_bias) {
    to[attention + "q_proj.bias"] = {c.query_size()};
    to[attention + "k_proj.bias"] = {c.key_value_size()};
    to[attention + "v_proj.bias"] = {c.key_value_size()};
  }
  if (c.qk_norm) {
    to[attention + "q_norm.weight"] = {c.head_dim};
    to[attention + "k_norm.weight"] = {c.head_dim};
  }
  to[attention + "o_proj.weight"] = {c.hidden_size, c.query_size()};
  to[layer + "post_attention_layernorm.weight"] = {c.hidden_size};
  to[mlp + "gate_proj.weight"] = {c.intermediate_size, c.hidden_size};
  to[mlp + "up_proj.weight"] = {c.intermediate_size, c.hidden_size};
  to[mlp + "down_proj.weight"] = {c.hidden_size, c.intermediate_size};
}

constexpr std::string_view kHidden = "hidden_size";
constexpr std::string_view kIntermediate = "intermediate_size";

/// Where the dimensions of a weight come from. Two fields multiply.
struct Origin {
  std::string_view part;  ///< Of the weight's name.
  std::vector<std::string_view> rows;
  std::vector<std::string_view> columns;
};

Origin origin_of(std::string_view weight) {
  static const std::vector<Origin> origins{
      {"embed_tokens.", {"vocab_size"}, {kHidden}},
      {"lm_head.", {"vocab_size"}, {kHidden}},
      {"q_proj.", {"num_attention_heads", "head_dim"}, {kHidden}},
      {"k_proj.", {"num_key_value_heads", "head_dim"}, {kHidden}},
      {"v_proj.", {"num_key_value_heads", "head_dim"}, {kHidden}},
      {"q_norm.", {"head_dim"}, {}},
      {"k_norm.", {"head_dim"}, {}},
      {"o_proj.", {kHidden}, {"num_attention_heads", "head_dim"}},
      {"gate_proj.", {kIntermediate}, {kHidden}},
      {"up_proj.", {kIntermediate}, {kHidden}},
      {"down_proj.", {kHidden}, {kIntermediate}},
      {"norm.", {kHidden}, {}}};
  const auto found = std::find_if(origins.begin(), origins.end(), [&](const Origin& origin) {
    return weight.find(origin.part) != std::string_view::npos;
  });
  return found == origins.end() ? Origin{} : *found;
}

}  // namespace

WeightShapes expected_weights(const ModelConfig& config) {
  WeightShapes shapes;
  shapes["model.embed_tokens.weight"] = {config.vocab_size, config.hidden_size};
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    add_layer(shapes, config, std::string(kLayers) + std::to_string(i) + ".");
  }
  shapes["model.norm.weight"] = {config.hidden_size};
  if (!config.tie_word_embeddings) {
    shapes["lm_head.weight"] = {config.vocab_size, config.hidden_size};
  }
  return shapes;
}

std::vector<std::string_view> fields_of_shape(std::string_view weight,
                                              const std::vector<std::int64_t>& shape,
                                              const std::vector<std::int64_t>& expected) {
  const Origin origin = origin_of(weight);
  std::vector<std::string_view> fields;
  const auto differs = [&](std::size_t i) {
    return shape.size() != expected.size() || (i < shape.size() && shape[i] != expected[i]);
  };
  if (differs(0)) fields = origin.rows;
  if (differs(1)) fields.insert(fields.end(), origin.columns.begin(), origin.columns.end());
  return fields;
}

std::string_view field_of_presence(std::string_view weight, bool has_layer) {
  if (weight == "lm_head.weight") return "tie_word_embeddings";
  if (!weight.starts_with(kLayers)) return "";
  if (!has_layer) return "num_hidden_layers";
  // The families differ in these.
  const bool of_family = weight.ends_with(".bias") || weight.ends_with("q_norm.weight") ||
                         weight.ends_with("k_norm.weight");
  return of_family ? "model_type" : "";
}

void TensorProblems::add(std::string_view tensor, const std::string& what) {
  if (++count_ > kNamedProblems) return;
  named_ += (named_.empty() ? "tensor " : "; tensor ") + internal::quoted(tensor) + " " + what;
}

bool TensorProblems::add_wrong_shape(std::string_view tensor,
                                     const std::vector<std::int64_t>& shape,
                                     const std::vector<std::int64_t>& expected) {
  if (shape == expected) return false;
  add(tensor,
      "has shape " + internal::shape_text(shape) + ", expected " + internal::shape_text(expected));
  return true;
}

std::string TensorProblems::text() const {
  if (count_ <= kNamedProblems) return named_;
  return named_ + "; and " + std::to_string(count_ - kNamedProblems) + " more";
}

}  // namespace tinkex::torch_ext::local
