#include "torch_ext/local/model_weights.h"

#include "tinkex/base/shape.h"
#include "tinkex/base/text.h"

namespace tinkex::torch_ext::local {
namespace {

constexpr std::size_t kNamedProblems = 8;

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

}  // namespace

WeightShapes expected_weights(const ModelConfig& config) {
  WeightShapes shapes;
  shapes["model.embed_tokens.weight"] = {config.vocab_size, config.hidden_size};
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    add_layer(shapes, config, "model.layers." + std::to_string(i) + ".");
  }
  shapes["model.norm.weight"] = {config.hidden_size};
  if (!config.tie_word_embeddings) {
    shapes["lm_head.weight"] = {config.vocab_size, config.hidden_size};
  }
  return shapes;
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
