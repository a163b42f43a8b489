#include "torch_ext/local/gguf_weights.h"

#include <cstddef>
#include <functional>
#include <set>
#include <string_view>

#include "torch_ext/local/model_weights.h"

namespace tinkex::torch_ext::local {
namespace {

/// How llama.cpp calls a weight of a layer, or one outside of the layers.
struct Name {
  std::string_view name;
  std::string_view stored;
};
constexpr Name kOutside[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};
constexpr std::string_view kLayers = "model.layers.";
constexpr Name kOfLayer[] = {
    {"input_layernorm.weight", "attn_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.q_proj.bias", "attn_q.bias"},
    {"self_attn.k_proj.weight", "attn_k.weight"},
    {"self_attn.k_proj.bias", "attn_k.bias"},
    {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.v_proj.bias", "attn_v.bias"},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"self_attn.o_proj.weight", "attn_output.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},
    {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},
};

std::string_view find(std::span<const Name> names, std::string_view name) {
  for (const Name& each : names) {
    if (each.name == name) return each.stored;
  }
  return {};
}

/// The name in the file of a weight that expected_weights() names.
std::string stored_name(std::string_view name) {
  if (!name.starts_with(kLayers)) return std::string(find(kOutside, name));
  const std::size_t dot = name.find('.', kLayers.size());
  const std::string layer(name.substr(kLayers.size(), dot - kLayers.size()));
  return "blk." + layer + "." + std::string(find(kOfLayer, name.substr(dot + 1)));
}

/// How many heads llama.cpp has interleaved in that weight of a llama.
std::int64_t interleaved_heads(std::string_view name, const ModelConfig& config) {
  if (name.find(".q_proj.") != std::string_view::npos) return config.num_attention_heads;
  return name.find(".k_proj.") != std::string_view::npos ? config.num_key_value_heads : 0;
}

/// Whether a weight can be brought to float32; complains if not.
bool can_widen(const GgufTensor& tensor, std::int64_t heads, TensorProblems& problems) {
  const bool is_vector = tensor.shape.size() == 1;
  const bool is_torn = heads > 0 && is_vector && tensor.type->block_elements > 1;
  if (tensor.type->widen != nullptr && !is_torn) return true;
  problems.add(tensor.name, std::string("has type ") + tensor.type->name +
                                ", which cannot be read; expected " +
                                (is_vector ? "F32" : widened_ggml_types()));
  return false;
}

}  // namespace

Result<std::vector<GgufWeight>> gguf_weights(const GgufFile& file, const ModelConfig& config) {
  std::vector<GgufWeight> weights;
  std::set<std::string, std::less<>> known{"rope_freqs.weight"};  // belongs to the configuration
  TensorProblems problems;
  for (const auto& [name, shape] : expected_weights(config)) {
    const std::string stored = stored_name(name);
    known.insert(stored);
    const GgufTensor* tensor = file.find(stored);
    if (tensor == nullptr) {
      problems.add(stored, "is missing");
      continue;
    }
    const std::int64_t heads = config.family == "llama" ? interleaved_heads(name, config) : 0;
    if (problems.add_wrong_shape(stored, tensor->shape, shape)) continue;
    if (can_widen(*tensor, heads, problems)) weights.push_back({name, tensor, heads});
  }
  for (const GgufTensor& tensor : file.tensors()) {
    if (known.count(tensor.name) == 0) problems.add(tensor.name, "is not expected");
  }
  if (!problems.empty()) return file.error(problems.text());
  return weights;
}

Status widen(const GgufFile& file, const GgufWeight& weight, std::span<float> out) {
  const GgufTensor& tensor = *weight.tensor;
  const auto elements = static_cast<std::size_t>(tensor.elements());
  if (weight.interleaved_heads == 0 || out.size() != elements) return file.widen(tensor, out);
  const auto rows = static_cast<std::size_t>(tensor.shape[0]);
  const std::size_t row_elements = elements / rows;
  const auto row_bytes = static_cast<std::size_t>(tensor.size / rows);
  const std::size_t row_blocks =
      row_elements / static_cast<std::size_t>(tensor.type->block_elements);
  const std::size_t head_rows = rows / static_cast<std::size_t>(weight.interleaved_heads);
  std::vector<std::byte> stored(head_rows * row_bytes);
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t within = row % head_rows;
    if (within == 0) {
      const Status status = file.read(tensor, row * row_bytes, stored);
      if (!status) return status;
    }
    const std::size_t half = within / (head_rows / 2);
    const std::size_t pair = within % (head_rows / 2);
    tensor.type->widen(stored.data() + (2 * pair + half) * row_bytes, row_blocks,
                       out.data() + row * row_elements);
  }
  return ok_status();
}

}  // namespace tinkex::torch_ext::local
