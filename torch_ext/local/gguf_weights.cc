#include "torch_ext/local/gguf_weights.h"

#include <cstddef>
#include <set>
#include <string_view>
#include <utility>

#include "tinkex/base/shape.h"
#include "tinkex/base/text.h"

namespace tinkex::torch_ext::local {
namespace {

/// Problems that an error spells out; it only counts the others.
constexpr std::size_t kNamedProblems = 8;

/// Finds the weights in the file, remembers what was wrong with them.
class Collector {
 public:
  explicit Collector(const GgufFile& file) : file_(file) {}

  void add(const std::string& stored_name, std::string name, std::vector<std::int64_t> shape,
           std::int64_t interleaved_heads = 0) {
    const GgufTensor* tensor = file_.find(stored_name);
    if (tensor == nullptr) return complain(stored_name, " is missing");
    known_.insert(stored_name);
    if (tensor->shape != shape) {
      return complain(stored_name, " has shape " + internal::shape_text(tensor->shape) +
                                       ", expected " + internal::shape_text(shape));
    }
    if (tensor->type->widen == nullptr ||
        (interleaved_heads > 0 && shape.size() == 1 && tensor->type->block_elements > 1)) {
      return complain(stored_name, std::string(" has type ") + tensor->type->name +
                                       ", which cannot be read; expected " +
                                       (shape.size() == 1 ? "F32" : widened_ggml_types()));
    }
    weights_.push_back({std::move(name), tensor, interleaved_heads});
  }

  Result<std::vector<GgufWeight>> finish() {
    known_.insert("rope_freqs.weight");  // belongs to the configuration
    for (const GgufTensor& tensor : file_.tensors()) {
      if (known_.count(tensor.name) == 0) complain(tensor.name, " is not expected");
    }
    if (problem_count_ == 0) return std::move(weights_);
    if (problem_count_ > kNamedProblems) {
      problems_ += "; and " + std::to_string(problem_count_ - kNamedProblems) + " more";
    }
    return file_.error(problems_);
  }

 private:
  void complain(std::string_view tensor, const std::string& what) {
    if (++problem_count_ > kNamedProblems) return;
    problems_ += (problems_.empty() ? "tensor " : "; tensor ") + internal::quoted(tensor) + what;
  }

  const GgufFile& file_;
  std::set<std::string, std::less<>> known_;
  std::vector<GgufWeight> weights_;
  std::string problems_;
  std::size_t problem_count_ = 0;
};

void add_attention(Collector& to, const ModelConfig& c, const std::string& stored,
                   const std::string& name, bool interleaved) {
  const struct {
    const char* stored;
    const char* name;
    std::int64_t heads;
    bool rotated;
  } kProjections[] = {
      {"attn_q", "self_attn.q_proj", c.num_attention_heads, true},
      {"attn_k", "self_attn.k_proj", c.num_key_value_heads, true},
      {"attn_v", "self_attn.v_proj", c.num_key_value_heads, false},
  };
  for (const auto& each : kProjections) {
    const std::int64_t rows = each.heads * c.head_dim;
    const std::int64_t heads = interleaved && each.rotated ? each.heads : 0;
    to.add(stored + each.stored + ".weight", name + each.name + ".weight", {rows, c.hidden_size},
           heads);
    if (!c.attention_bias) continue;
    to.add(stored + each.stored + ".bias", name + each.name + ".bias", {rows}, heads);
  }
  if (c.qk_norm) {
    to.add(stored + "attn_q_norm.weight", name + "self_attn.q_norm.weight", {c.head_dim});
    to.add(stored + "attn_k_norm.weight", name + "self_attn.k_norm.weight", {c.head_dim});
  }
  to.add(stored + "attn_output.weight", name + "self_attn.o_proj.weight",
         {c.hidden_size, c.query_size()});
}

void add_layer(Collector& to, const ModelConfig& c, std::int64_t layer, bool interleaved) {
  const std::string stored = "blk." + std::to_string(layer) + ".";
  const std::string name = "model.layers." + std::to_string(layer) + ".";
  to.add(stored + "attn_norm.weight", name + "input_layernorm.weight", {c.hidden_size});
  add_attention(to, c, stored, name, interleaved);
  to.add(stored + "ffn_norm.weight", name + "post_attention_layernorm.weight", {c.hidden_size});
  to.add(stored + "ffn_gate.weight", name + "mlp.gate_proj.weight",
         {c.intermediate_size, c.hidden_size});
  to.add(stored + "ffn_up.weight", name + "mlp.up_proj.weight",
         {c.intermediate_size, c.hidden_size});
  to.add(stored + "ffn_down.weight", name + "mlp.down_proj.weight",
         {c.hidden_size, c.intermediate_size});
}

}  // namespace

Result<std::vector<GgufWeight>> gguf_weights(const GgufFile& file, const ModelConfig& config) {
  const Result<std::string_view> architecture = file.text("general.architecture");
  if (!architecture) return architecture.error();
  const bool interleaved = *architecture == "llama";
  Collector to(file);
  to.add("token_embd.weight", "model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    add_layer(to, config, layer, interleaved);
  }
  to.add("output_norm.weight", "model.norm.weight", {config.hidden_size});
  if (!config.tie_word_embeddings) {
    to.add("output.weight", "lm_head.weight", {config.vocab_size, config.hidden_size});
  }
  return to.finish();
}

Status widen(const GgufFile& file, const GgufWeight& weight, std::span<float> out) {
  const GgufTensor& tensor = *weight.tensor;
  const auto elements = static_cast<std::size_t>(tensor.elements());
  if (weight.interleaved_heads == 0 || out.size() != elements) return file.widen(tensor, out);
  const auto rows = static_cast<std::size_t>(tensor.shape[0]);
  const std::size_t row_elements = elements / rows;
  const std::size_t row_bytes = tensor.bytes.size() / rows;
  const std::size_t row_blocks =
      row_elements / static_cast<std::size_t>(tensor.type->block_elements);
  const std::size_t head_rows = rows / static_cast<std::size_t>(weight.interleaved_heads);
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t head = row / head_rows * head_rows;
    const std::size_t half = (row - head) / (head_rows / 2);
    const std::size_t pair = (row - head) % (head_rows / 2);
    const std::size_t stored_row = head + 2 * pair + half;
    tensor.type->widen(tensor.bytes.data() + stored_row * row_bytes, row_blocks,
                       out.data() + row * row_elements);
  }
  return ok_status();
}

}  // namespace tinkex::torch_ext::local
