#include "torch_ext/local/decode_step.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "torch_ext/local/decoder.h"
#include "torch_ext/local/head.h"
#include "torch_ext/local/kernels.h"
#include "torch_ext/local/row_ops.h"

namespace tinkex::torch_ext::local {
namespace {

class Step {
 public:
  Step(const BaseModel& model, const AdapterViews& adapter, std::span<const DecodeRow> rows)
      : model_(model), config_(model.config()), adapter_(adapter) {
    tokens_ = at::empty({static_cast<std::int64_t>(rows.size())}, at::ScalarType::Long);
    std::int64_t* token = tokens_.mutable_data_ptr<std::int64_t>();
    for (const DecodeRow& row : rows) {
      *token++ = row.token;
      row.cache->reserve();
      caches_.push_back(row.cache);
      positions_.push_back(row.cache->length());
    }
  }

  at::Tensor run() {
    at::Tensor x = embed(model_, tokens_);
    for (std::size_t layer = 0; layer < model_.layers().size(); ++layer) {
      attention_half(x, layer);
      mlp_half(x, layer);
    }
    for (SequenceCache* cache : caches_) cache->advance();
    return head_logits(model_, adapter_, x);
  }

 private:
  at::Tensor normed(const at::Tensor& x, const at::Tensor& weight) const {
    return rms_norm(x, weight, config_.rms_norm_eps, nullptr);
  }
  static at::Tensor zeros_beside(const at::Tensor& x, std::int64_t columns) {
    return at::zeros({x.size(0), columns}, x.options());
  }

  void attention_half(at::Tensor& x, std::size_t layer) {
    const LayerWeights& weights = model_.layers()[layer];
    const LayerViews& adapter = adapter_.layers[layer];
    at::Tensor qkv = zeros_beside(x, weights.qkv.size(0));
    if (weights.qkv_bias.defined()) qkv.add_(weights.qkv_bias);
    add_row_linear(qkv, normed(x, weights.input_norm), weights.qkv, adapter.qkv);
    if (config_.qk_norm) normalize(qkv, weights);
    rotate_heads(qkv, model_.rotary_table(), rotation());
    store(qkv, layer);
    add_row_linear(x, attend_rows(qkv, caches_, layer, config_), weights.o, adapter.o);
  }

  void mlp_half(at::Tensor& x, std::size_t layer) {
    const LayerWeights& weights = model_.layers()[layer];
    const LayerViews& adapter = adapter_.layers[layer];
    at::Tensor gate_up = zeros_beside(x, weights.gate_up.size(0));
    add_row_linear(gate_up, normed(x, weights.post_attention_norm), weights.gate_up,
                   adapter.gate_up);
    add_row_linear(x, gated_rows(gate_up), weights.down, adapter.down);
  }

  void normalize(at::Tensor& qkv, const LayerWeights& weights) const {
    const std::int64_t heads = config_.num_attention_heads;
    HeadNormRecord record;
    normalize_heads(qkv, weights.q_norm, config_.rms_norm_eps, {0, heads}, record);
    normalize_heads(qkv, weights.k_norm, config_.rms_norm_eps, {heads, config_.num_key_value_heads},
                    record);
  }

  Rotation rotation() const {
    Rotation rotation;
    rotation.heads = config_.num_attention_heads + config_.num_key_value_heads;
    rotation.head_dim = config_.head_dim;
    rotation.positions = positions_.data();
    return rotation;
  }

  void store(const at::Tensor& qkv, std::size_t layer) {
    if (qkv.scalar_type() == at::ScalarType::Double) {
      store_rows(qkv.const_data_ptr<double>(), layer);
    } else {
      store_rows(qkv.const_data_ptr<float>(), layer);
    }
  }
  template <class T>
  void store_rows(const T* qkv, std::size_t layer) {
    for (SequenceCache* cache : caches_) {
      const T* keys = qkv + config_.query_size();
      cache->append(layer, keys, keys + config_.key_value_size());
      qkv = keys + 2 * config_.key_value_size();
    }
  }

  const BaseModel& model_;
  const ModelConfig& config_;
  const AdapterViews& adapter_;
  at::Tensor tokens_;
  std::vector<SequenceCache*> caches_;
  std::vector<std::int64_t> positions_;
};

}  // namespace

at::Tensor decode_step(const BaseModel& model, const AdapterViews& adapter,
                       std::span<const DecodeRow> rows) {
  return Step(model, adapter, rows).run();
}

}  // namespace tinkex::torch_ext::local
