#include "torch_ext/local/base_model.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>

#include <cmath>
#include <cstring>
#include <span>
#include <utility>

#include "tinkex/base/shape.h"
#include "torch_ext/local/digest.h"
#include "torch_ext/local/guard.h"
#include "torch_ext/local/random.h"
#include "torch_ext/local/rotary.h"

namespace tinkex::torch_ext::local {
namespace {

/// Seed of every built-in model's weights.
constexpr std::uint64_t kBuiltInSeed = 0x74696E6B6578;  // "tinkex"

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// Takes tensors from a source, remembers what was wrong with them.
class Collector {
 public:
  Collector(const BaseModel::TensorSource& source, at::ScalarType dtype)
      : source_(source), dtype_(dtype) {}

  at::Tensor take(const std::string& name, std::vector<std::int64_t> shape) {
    const at::Tensor tensor = source_(name);
    if (!tensor.defined()) {
      problems_ += (problems_.empty() ? "" : "; ") + name + " is missing";
    } else if (tensor.sizes() != at::IntArrayRef(shape)) {
      problems_ += (problems_.empty() ? "" : "; ") + name + " has shape " +
                   internal::shape_text(tensor.sizes().vec()) + ", expected " +
                   internal::shape_text(shape);
    } else {
      return tensor.detach().to(dtype_, /*non_blocking=*/false, /*copy=*/true).contiguous();
    }
    return at::empty(shape, dtype_);
  }

  const std::string& problems() const { return problems_; }

 private:
  const BaseModel::TensorSource& source_;
  at::ScalarType dtype_;
  std::string problems_;
};

LayerWeights take_layer(Collector& from, const ModelConfig& c, const std::string& prefix) {
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  LayerWeights layer;
  layer.input_norm = from.take(prefix + "input_layernorm.weight", {c.hidden_size});
  layer.qkv = at::cat({
      from.take(attention + "q_proj.weight", {c.query_size(), c.hidden_size}),
      from.take(attention + "k_proj.weight", {c.key_value_size(), c.hidden_size}),
      from.take(attention + "v_proj.weight", {c.key_value_size(), c.hidden_size}),
  });
  if (c.attention_bias) {
    layer.qkv_bias = at::cat({
        from.take(attention + "q_proj.bias", {c.query_size()}),
        from.take(attention + "k_proj.bias", {c.key_value_size()}),
        from.take(attention + "v_proj.bias", {c.key_value_size()}),
    });
  }
  if (c.qk_norm) {
    layer.q_norm = from.take(attention + "q_norm.weight", {c.head_dim});
    layer.k_norm = from.take(attention + "k_norm.weight", {c.head_dim});
  }
  layer.o = from.take(attention + "o_proj.weight", {c.hidden_size, c.query_size()});
  layer.post_attention_norm =
      from.take(prefix + "post_attention_layernorm.weight", {c.hidden_size});
  layer.gate_up = at::cat({
      from.take(mlp + "gate_proj.weight", {c.intermediate_size, c.hidden_size}),
      from.take(mlp + "up_proj.weight", {c.intermediate_size, c.hidden_size}),
  });
  layer.down = from.take(mlp + "down_proj.weight", {c.hidden_size, c.intermediate_size});
  return layer;
}

double std_of(const std::string& name, std::int64_t in, const ModelConfig& config) {
  if (ends_with(name, "embed_tokens.weight")) return config.init.embedding_std;
  double gain = config.init.linear_gain;
  if (ends_with(name, "lm_head.weight")) gain = config.init.unembed_gain;
  if (ends_with(name, "q_proj.weight") || ends_with(name, "k_proj.weight")) {
    gain = config.init.query_key_gain;
  }
  if (ends_with(name, "o_proj.weight") || ends_with(name, "down_proj.weight")) {
    gain = config.init.residual_gain != 0
               ? config.init.residual_gain
               : 1.0 / std::sqrt(2.0 * static_cast<double>(config.num_hidden_layers));
  }
  return gain / std::sqrt(static_cast<double>(in));
}

std::vector<std::int64_t> shape_of(const std::string& name, const ModelConfig& c) {
  if (ends_with(name, "q_norm.weight") || ends_with(name, "k_norm.weight")) return {c.head_dim};
  if (ends_with(name, "norm.weight")) return {c.hidden_size};
  if (ends_with(name, "q_proj.bias")) return {c.query_size()};
  if (ends_with(name, ".bias")) return {c.key_value_size()};
  if (ends_with(name, "q_proj.weight")) return {c.query_size(), c.hidden_size};
  if (ends_with(name, "k_proj.weight") || ends_with(name, "v_proj.weight")) {
    return {c.key_value_size(), c.hidden_size};
  }
  if (ends_with(name, "o_proj.weight")) return {c.hidden_size, c.query_size()};
  if (ends_with(name, "down_proj.weight")) return {c.hidden_size, c.intermediate_size};
  if (ends_with(name, "gate_proj.weight") || ends_with(name, "up_proj.weight")) {
    return {c.intermediate_size, c.hidden_size};
  }
  return {c.vocab_size, c.hidden_size};
}

at::Tensor draw(const std::string& name, const ModelConfig& config, std::uint64_t seed,
                at::ScalarType dtype) {
  const std::vector<std::int64_t> shape = shape_of(name, config);
  if (ends_with(name, "norm.weight")) return at::ones(shape, dtype);
  at::Tensor tensor = at::empty(shape, dtype);
  fill_normal(tensor, RandomStream::named(seed, name), std_of(name, shape.back(), config));
  return tensor;
}

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

}  // namespace

Result<std::shared_ptr<const BaseModel>> BaseModel::random(ModelConfig config, std::uint64_t seed,
                                                           at::ScalarType dtype) {
  const Status valid = validate(config);
  if (!valid) return valid.error();
  const ModelConfig shape = config;
  return from_tensors(
      std::move(config), [&](const std::string& name) { return draw(name, shape, seed, dtype); },
      dtype);
}

Result<std::shared_ptr<const BaseModel>> BaseModel::from_tensors(
    ModelConfig config, const TensorSource& source, at::ScalarType dtype,
    std::shared_ptr<const Tokenizer> tokenizer) {
  if (const Status valid = validate(config); !valid) return valid.error();
  return guarded([&]() -> Result<std::shared_ptr<const BaseModel>> {
    const std::shared_ptr<BaseModel> model(new BaseModel);
    model->config_ = std::move(config);
    model->tokenizer_ = tokenizer ? std::move(tokenizer) : std::make_shared<ByteTokenizer>();
    const ModelConfig& c = model->config_;
    Collector from(source, dtype);
    model->embedding_ = from.take("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
    for (std::int64_t i = 0; i < c.num_hidden_layers; ++i) {
      model->layers_.push_back(take_layer(from, c, "model.layers." + std::to_string(i) + "."));
    }
    model->final_norm_ = from.take("model.norm.weight", {c.hidden_size});
    model->unembed_ = c.tie_word_embeddings
                          ? model->embedding_
                          : from.take("lm_head.weight", {c.vocab_size, c.hidden_size});
    if (!from.problems().empty()) {
      return invalid_argument("weights of model '" + c.name + "': " + from.problems());
    }
    model->finish();
    return std::shared_ptr<const BaseModel>(model);
  });
}

void BaseModel::finish() {
  std::vector<at::Tensor> all{embedding_, final_norm_};
  if (!config_.tie_word_embeddings) all.push_back(unembed_);
  for (const LayerWeights& layer : layers_) {
    for (const at::Tensor& each :
         {layer.input_norm, layer.qkv, layer.qkv_bias, layer.q_norm, layer.k_norm, layer.o,
          layer.post_attention_norm, layer.gate_up, layer.down}) {
      if (each.defined()) all.push_back(each);
    }
  }
  std::vector<double> numbers{config_.rms_norm_eps, config_.rope_theta};
  numbers.insert(numbers.end(), config_.rope_divisors.begin(), config_.rope_divisors.end());
  const std::int64_t sizes[] = {config_.num_attention_heads, config_.num_key_value_heads,
                                config_.head_dim};
  std::uint64_t hash = hash64(std::as_bytes(std::span(numbers)));
  hash = hash64(std::as_bytes(std::span(sizes)), hash);
  for (const at::Tensor& tensor : all) {
    parameter_count_ += tensor.numel();
    hash = hash64(bytes_of(tensor), hash);
  }
  digest_ = to_hex(hash);
  rotary_table_ = make_rotary_table(config_, dtype());
}

Result<std::shared_ptr<const BaseModel>> built_in_model(std::string_view name) {
  Result<ModelConfig> config = built_in_config(name);
  if (!config) return config.error();
  return BaseModel::random(std::move(*config), kBuiltInSeed);
}

}  // namespace tinkex::torch_ext::local
