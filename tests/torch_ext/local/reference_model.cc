#include "tests/torch_ext/local/reference_model.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "torch_ext/tensor_convert.h"

namespace tinkex::torch_ext::local::testing {

at::Tensor ReferenceModel::linear(const at::Tensor& x, const at::Tensor& flat,
                                  const std::string& module) const {
  at::Tensor y = at::matmul(x, weights_.at(module + ".weight").t());
  at::Tensor a, b;
  for (const LoraMatrix& m : layout_.matrices()) {
    const at::Tensor matrix = flat.narrow(0, m.offset, m.rows * m.cols).view({m.rows, m.cols});
    if (m.name == "base_model.model." + module + ".lora_A.weight") a = matrix;
    if (m.name == "base_model.model." + module + ".lora_B.weight") b = matrix;
  }
  if (!a.defined()) return y;
  const double scale = 32.0 / static_cast<double>(a.size(0));
  return y + scale * at::matmul(at::matmul(x, a.t()), b.t());
}

at::Tensor ReferenceModel::norm(const at::Tensor& x, const std::string& name) const {
  const at::Tensor mean_square = x.pow(2).mean(-1, true);
  return x * at::rsqrt(mean_square + config_.rms_norm_eps) * weights_.at(name);
}

/// x is (length, heads, head_dim).
at::Tensor ReferenceModel::rotate(const at::Tensor& x) const {
  const std::int64_t half = config_.head_dim / 2;
  const at::Tensor steps = at::arange(half, x.options());
  const at::Tensor frequencies =
      at::pow(config_.rope_theta, steps * (-2.0 / static_cast<double>(config_.head_dim)));
  const at::Tensor angles = at::arange(x.size(0), x.options()).unsqueeze(1) * frequencies;
  const at::Tensor cosine = angles.cos().unsqueeze(1);
  const at::Tensor sine = angles.sin().unsqueeze(1);
  const at::Tensor low = x.narrow(2, 0, half);
  const at::Tensor high = x.narrow(2, half, half);
  return at::cat({low * cosine - high * sine, high * cosine + low * sine}, 2);
}

at::Tensor ReferenceModel::attention(const at::Tensor& x, const at::Tensor& flat,
                                     const std::string& layer) const {
  const std::int64_t length = x.size(0);
  const auto heads = [&](const char* module, std::int64_t count) {
    return linear(x, flat, layer + "self_attn." + module).view({length, count, config_.head_dim});
  };
  const std::int64_t group = config_.num_attention_heads / config_.num_key_value_heads;
  const at::Tensor q = rotate(heads("q_proj", config_.num_attention_heads));
  const at::Tensor k =
      rotate(heads("k_proj", config_.num_key_value_heads)).repeat_interleave(group, 1);
  const at::Tensor v = heads("v_proj", config_.num_key_value_heads).repeat_interleave(group, 1);
  const at::Tensor later = at::ones({length, length}, at::ScalarType::Bool).triu(1);
  at::Tensor scores =
      at::einsum("ihd,jhd->hij", {q, k}) / std::sqrt(static_cast<double>(config_.head_dim));
  scores = scores.masked_fill(later, -INFINITY).softmax(-1);
  return linear(at::einsum("hij,jhd->ihd", {scores, v}).reshape({length, -1}), flat,
                layer + "self_attn.o_proj");
}

at::Tensor ReferenceModel::mlp(const at::Tensor& x, const at::Tensor& flat,
                               const std::string& layer) const {
  const at::Tensor gate = linear(x, flat, layer + "mlp.gate_proj");
  const at::Tensor up = linear(x, flat, layer + "mlp.up_proj");
  return linear(gate * at::sigmoid(gate) * up, flat, layer + "mlp.down_proj");
}

at::Tensor ReferenceModel::logprobs(const at::Tensor& flat,
                                    const std::vector<std::int64_t>& tokens) const {
  at::Tensor x = weights_.at("model.embed_tokens.weight").index({at::tensor(tokens)});
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    x = x + attention(norm(x, layer + "input_layernorm.weight"), flat, layer);
    x = x + mlp(norm(x, layer + "post_attention_layernorm.weight"), flat, layer);
  }
  return at::log_softmax(linear(norm(x, "model.norm.weight"), flat, "lm_head"), -1);
}

namespace {

at::Tensor floats_of(const Datum& datum, const char* name) {
  const std::vector<float> values = find(datum.loss_fn_inputs, name)->to_floats();
  return at::tensor(values).to(at::ScalarType::Double);
}

at::Tensor loss_of(const at::Tensor& p, const Datum& datum, const std::string& loss) {
  if (loss == "cross_entropy") {
    return -(p * floats_of(datum, "weights").view(p.sizes())).sum();
  }
  const at::Tensor q = floats_of(datum, "logprobs");
  const at::Tensor a = floats_of(datum, "advantages");
  if (loss == "gspo") {
    const at::Tensor mask = floats_of(datum, "sequence_ratio_mask");
    const at::Tensor ratio = ((mask * (p - q)).sum() / mask.sum()).exp();
    return -at::minimum(ratio * a, ratio.clamp(1 - 3e-4, 1 + 4e-4) * a).sum();
  }
  const at::Tensor ratio = (p - q).exp();
  if (loss == "importance_sampling") return -(ratio * a).sum();
  if (loss == "ppo") return -at::minimum(ratio * a, ratio.clamp(0.8, 1.2) * a).sum();
  if (loss == "cispo") return -(ratio.clamp(0.0, 4.0).detach() * a * p).sum();
  return -(p * a - 0.025 * (p - q).pow(2)).sum();
}

}  // namespace

ReferenceResult reference_pass(const ReferenceModel& model, const at::Tensor& flat,
                               const std::vector<Datum>& data, const std::string& loss) {
  const at::Tensor leaf = flat.detach().clone().set_requires_grad(true);
  ReferenceResult result;
  at::Tensor total = at::zeros({}, at::ScalarType::Double);
  for (const Datum& datum : data) {
    const TensorData& targets = *find(datum.loss_fn_inputs, "target_tokens");
    const at::Tensor all = model.logprobs(leaf, datum.model_input.text_tokens());
    const at::Tensor index = at::tensor(targets.to_ints()).view({all.size(0), -1});
    const at::Tensor p = all.gather(1, index).view(sizes(targets));
    total = total + loss_of(p, datum, loss);
    const at::Tensor kept = p.detach().to(at::ScalarType::Float).contiguous();
    result.logprobs.emplace_back(kept.const_data_ptr<float>(),
                                 kept.const_data_ptr<float>() + kept.numel());
  }
  result.loss = total.item<double>();
  result.gradient = torch::autograd::grad({total}, {leaf})[0];
  return result;
}

}  // namespace tinkex::torch_ext::local::testing
