#include "torch_ext/local/decoder.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include <algorithm>

#include "torch_ext/local/kernels.h"
#include "torch_ext/local/row_ops.h"

namespace tinkex::torch_ext::local {
namespace {

Rotation rotation_of(const ModelConfig& config, std::int64_t length) {
  Rotation rotation;
  rotation.heads = config.num_attention_heads + config.num_key_value_heads;
  rotation.head_dim = config.head_dim;
  rotation.length = length;
  return rotation;
}

/// One layer at work: what it shares between its two halves.
struct LayerPass {
  const BaseModel& model;
  std::size_t index;
  const LayerViews& adapter;
  std::int64_t length;
  KvCache* cache;

  const LayerWeights& weights() const { return model.layers()[index]; }
  // What a datum gives in training must not depend on how many rows lie beside it; a prompt is
  // alone.
  Summation summation() const { return cache != nullptr ? Summation::kFastest : Summation::kAlike; }
  double eps() const { return model.config().rms_norm_eps; }
  HeadNorm queries() const { return {0, model.config().num_attention_heads}; }
  HeadNorm keys() const {
    return {model.config().num_attention_heads, model.config().num_key_value_heads};
  }

  at::Tensor attention_half(const at::Tensor& x, LayerRecord& r) const {
    r.input = x;
    const at::Tensor normed = rms_norm(x, weights().input_norm, eps(), &r.input_inverse);
    r.qkv = linear(normed, weights().qkv, adapter.qkv, weights().qkv_bias, summation(),
                   &r.qkv_low_rank);
    if (model.config().qk_norm) {
      normalize_heads(r.qkv, weights().q_norm, eps(), queries(), r.q_norm);
      normalize_heads(r.qkv, weights().k_norm, eps(), keys(), r.k_norm);
    }
    rotate_heads(r.qkv, model.rotary_table(), rotation_of(model.config(), length));
    if (cache != nullptr) {
      const KeyValueViews heads = KeyValueViews::of(r.qkv, model.config(), length);
      cache->write(index, heads.k, heads.v);
    }
    r.attention = attention(r.qkv, model.config(), length);
    return linear(r.attention.out, weights().o, adapter.o, x, summation(), &r.o_low_rank);
  }

  at::Tensor mlp_half(const at::Tensor& x, LayerRecord& r) const {
    r.middle = x;
    const at::Tensor normed = rms_norm(x, weights().post_attention_norm, eps(), &r.middle_inverse);
    r.gate_up =
        linear(normed, weights().gate_up, adapter.gate_up, {}, summation(), &r.gate_up_low_rank);
    return linear(gated_rows(r.gate_up), weights().down, adapter.down, x, summation(),
                  &r.down_low_rank);
  }

  /// Adds the MLP's part to `dx`, which comes in as the gradient of the layer's output.
  void mlp_backward(const LayerRecord& r, at::Tensor& dx, LayerViews& gradient) const {
    at::Tensor gated, normed;  // computed once more, for the gradients of adapters alone
    if (adapter.down.present()) gated = gated_rows(r.gate_up);
    const at::Tensor d_gated = linear_backward(dx, gated, r.down_low_rank, weights().down,
                                               adapter.down, gradient.down, true);
    const at::Tensor d_gate_up = gated_rows_backward(r.gate_up, d_gated);
    if (adapter.gate_up.present()) {
      normed = scaled_rows(r.middle, weights().post_attention_norm, r.middle_inverse);
    }
    const at::Tensor d_input =
        linear_backward(d_gate_up, normed, r.gate_up_low_rank, weights().gate_up, adapter.gate_up,
                        gradient.gate_up, true);
    add_rms_norm_backward(d_input, r.middle, weights().post_attention_norm, r.middle_inverse, dx);
  }

  /// The same for attention. Nothing below the first layer is trained, so it needs no dx.
  void attention_half_backward(const LayerRecord& r, at::Tensor& dx, LayerViews& gradient) const {
    const bool first = index == 0;
    if (first && !adapter.o.present() && !adapter.qkv.present()) return;
    const at::Tensor d_rows = linear_backward(dx, r.attention.out, r.o_low_rank, weights().o,
                                              adapter.o, gradient.o, true);
    at::Tensor d_qkv = attention_backward(d_rows, r.qkv, r.attention, model.config(), length);
    Rotation back = rotation_of(model.config(), length);
    back.inverse = true;
    rotate_heads(d_qkv, model.rotary_table(), back);
    if (model.config().qk_norm) {
      normalize_heads_backward(d_qkv, weights().q_norm, queries(), r.q_norm);
      normalize_heads_backward(d_qkv, weights().k_norm, keys(), r.k_norm);
    }
    at::Tensor normed;
    if (adapter.qkv.present()) {
      normed = scaled_rows(r.input, weights().input_norm, r.input_inverse);
    }
    const at::Tensor d_input = linear_backward(d_qkv, normed, r.qkv_low_rank, weights().qkv,
                                               adapter.qkv, gradient.qkv, !first);
    if (!first) add_rms_norm_backward(d_input, r.input, weights().input_norm, r.input_inverse, dx);
  }
};

}  // namespace

at::Tensor token_tensor(const std::vector<std::int64_t>& ids) {
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(ids.size())}, at::ScalarType::Long);
  std::copy(ids.begin(), ids.end(), tensor.mutable_data_ptr<std::int64_t>());
  return tensor;
}

at::Tensor embed(const BaseModel& model, const at::Tensor& tokens) {
  return at::index_select(model.embedding(), 0, tokens).to(model.compute_dtype());
}

at::Tensor decoder_forward(const BaseModel& model, const AdapterViews& adapter,
                           const at::Tensor& tokens, std::int64_t length, DecoderRecord* record,
                           KvCache* cache, const std::function<bool()>& cancelled) {
  at::Tensor x = embed(model, tokens);
  const std::size_t layers = model.layers().size();
  if (record != nullptr) record->resize(layers);
  for (std::size_t i = 0; i < layers; ++i) {
    if (cancelled && cancelled()) return {};
    const LayerPass pass{model, i, adapter.layers[i], length, cache};
    LayerRecord passing;
    LayerRecord& r = record != nullptr ? (*record)[i] : passing;
    x = pass.attention_half(x, r);
    x = pass.mlp_half(x, r);
  }
  return x;
}

void decoder_backward(const BaseModel& model, const AdapterViews& adapter,
                      const DecoderRecord& record, std::int64_t length, at::Tensor d_stream,
                      AdapterViews& gradient) {
  for (std::size_t i = model.layers().size(); i-- > 0;) {
    const LayerPass pass{model, i, adapter.layers[i], length, nullptr};
    pass.mlp_backward(record[i], d_stream, gradient.layers[i]);
    pass.attention_half_backward(record[i], d_stream, gradient.layers[i]);
  }
}

}  // namespace tinkex::torch_ext::local
