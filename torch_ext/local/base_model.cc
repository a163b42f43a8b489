#include "torch_ext/local/base_model.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>

#include <cmath>
#include <cstring>
#include <initializer_list>
#include <span>
#include <utility>

#include "torch_ext/local/digest.h"
#include "torch_ext/local/guard.h"
#include "torch_ext/local/model_weights.h"
#include "torch_ext/local/random.h"
#include "torch_ext/local/rotary.h"
#include "torch_ext/local/weight_arena.h"

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
  Collector(const BaseModel::TensorSource& source, const ModelConfig& config, at::ScalarType dtype)
      : source_(source), shapes_(expected_weights(config)), dtype_(dtype) {}

  at::Tensor take(const std::string& name) { return stack("", {name}); }

  /// `names`, with `prefix` before each, stacked by rows: each is written to its place, so that no
  /// more than one is held twice.
  at::Tensor stack(const std::string& prefix, std::initializer_list<std::string> names) {
    std::vector<std::int64_t> shape = shapes_.at(prefix + *names.begin());
    shape[0] = 0;
    for (const std::string& name : names) shape[0] += shapes_.at(prefix + name)[0];
    // Norms and biases are small, and are computed with as they are.
    const bool vector = shape.size() == 1 && dtype_ == at::ScalarType::BFloat16;
    at::Tensor stacked = arena_.empty(shape, vector ? at::ScalarType::Float : dtype_);
    std::int64_t row = 0;
    for (const std::string& name : names) {
      const std::vector<std::int64_t>& expected = shapes_.at(prefix + name);
      const at::Tensor tensor = source_(prefix + name);
      if (!tensor.defined()) {
        problems_.add(prefix + name, "is missing");
      } else if (!problems_.add_wrong_shape(prefix + name, tensor.sizes().vec(), expected)) {
        stacked.narrow(0, row, expected[0]).copy_(tensor.detach());
      }
      row += expected[0];
    }
    return stacked;
  }

  const TensorProblems& problems() const { return problems_; }
  const std::string& why_not_huge() const { return arena_.why_not_huge(); }

 private:
  const BaseModel::TensorSource& source_;
  const WeightShapes shapes_;
  const at::ScalarType dtype_;
  TensorProblems problems_;
  WeightArena arena_;
};

LayerWeights take_layer(Collector& from, const ModelConfig& c, const std::string& prefix) {
  const std::string attention = prefix + "self_attn.";
  const std::string mlp = prefix + "mlp.";
  LayerWeights layer;
  layer.input_norm = from.take(prefix + "input_layernorm.weight");
  layer.qkv = from.stack(attention, {"q_proj.weight", "k_proj.weight", "v_proj.weight"});
  if (c.attention_bias) {
    layer.qkv_bias = from.stack(attention, {"q_proj.bias", "k_proj.bias", "v_proj.bias"});
  }
  if (c.qk_norm) {
    layer.q_norm = from.take(attention + "q_norm.weight");
    layer.k_norm = from.take(attention + "k_norm.weight");
  }
  layer.o = from.take(attention + "o_proj.weight");
  layer.post_attention_norm = from.take(prefix + "post_attention_layernorm.weight");
  layer.gate_up = from.stack(mlp, {"gate_proj.weight", "up_proj.weight"});
  layer.down = from.take(mlp + "down_proj.weight");
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

at::Tensor draw(const std::string& name, const std::vector<std::int64_t>& shape,
                const ModelConfig& config, std::uint64_t seed, at::ScalarType dtype) {
  if (ends_with(name, "norm.weight")) return at::ones(shape, dtype);
  at::Tensor tensor = at::empty(shape, dtype);
  fill_normal(tensor, RandomStream::named(seed, name), std_of(name, shape.back(), config));
  return tensor;
}

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

/// The digest of a model, weight by weight.
class WeightHash {
 public:
  explicit WeightHash(const ModelConfig& config) {
    std::vector<double> numbers{config.rms_norm_eps, config.rope_theta};
    numbers.insert(numbers.end(), config.rope_divisors.begin(), config.rope_divisors.end());
    const std::int64_t sizes[] = {config.num_attention_heads, config.num_key_value_heads,
                                  config.head_dim};
    hash_ = hash64(std::as_bytes(std::span(numbers)));
    hash_ = hash64(std::as_bytes(std::span(sizes)), hash_);
  }

  void add(const at::Tensor& tensor) {
    elements_ += tensor.numel();
    hash_ = hash64(bytes_of(tensor), hash_);
  }
  void add(const LayerWeights& layer) {
    for (const at::Tensor& each :
         {layer.input_norm, layer.qkv, layer.qkv_bias, layer.q_norm, layer.k_norm, layer.o,
          layer.post_attention_norm, layer.gate_up, layer.down}) {
      if (each.defined()) add(each);
    }
  }

  std::int64_t elements() const { return elements_; }
  std::string digest() const { return to_hex(hash_); }

 private:
  std::uint64_t hash_ = 0;
  std::int64_t elements_ = 0;
};

}  // namespace

Result<std::shared_ptr<const BaseModel>> BaseModel::random(ModelConfig config, std::uint64_t seed,
                                                           at::ScalarType dtype) {
  const Status valid = validate(config);
  if (!valid) return valid.error();
  const ModelConfig copy = config;
  const WeightShapes shapes = expected_weights(copy);
  return from_tensors(
      std::move(config),
      [&](const std::string& name) { return draw(name, shapes.at(name), copy, seed, dtype); },
      dtype);
}

Result<std::shared_ptr<const BaseModel>> BaseModel::from_tensors(
    ModelConfig config, const TensorSource& source, at::ScalarType dtype,
    std::shared_ptr<const Tokenizer> tokenizer) {
  if (const Status valid = validate(config); !valid) return valid.error();
  const auto take_all = [&]() -> Result<std::shared_ptr<const BaseModel>> {
    const std::shared_ptr<BaseModel> model(new BaseModel);
    model->config_ = std::move(config);
    model->tokenizer_ = tokenizer ? std::move(tokenizer) : std::make_shared<ByteTokenizer>();
    const ModelConfig& c = model->config_;
    Collector from(source, c, dtype);
    model->embedding_ = from.take("model.embed_tokens.weight");
    for (std::int64_t i = 0; i < c.num_hidden_layers; ++i) {
      model->layers_.push_back(take_layer(from, c, "model.layers." + std::to_string(i) + "."));
    }
    model->final_norm_ = from.take("model.norm.weight");
    model->unembed_ = c.tie_word_embeddings ? model->embedding_ : from.take("lm_head.weight");
    if (!from.problems().empty()) {
      return invalid_argument("weights of model '" + c.name + "': " + from.problems().text());
    }
    model->why_not_huge_ = from.why_not_huge();
    model->finish();
    return std::shared_ptr<const BaseModel>(model);
  };
  return guarded(take_all, kNoMemoryForModel);
}

Result<std::string> BaseModel::digest_of(const ModelConfig& config, const TensorSource& source,
                                         at::ScalarType dtype) {
  return guarded([&]() -> Result<std::string> {
    WeightHash hash(config);
    Collector from(source, config, dtype);
    hash.add(from.take("model.embed_tokens.weight"));
    hash.add(from.take("model.norm.weight"));
    if (!config.tie_word_embeddings) hash.add(from.take("lm_head.weight"));
    for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
      hash.add(take_layer(from, config, "model.layers." + std::to_string(i) + "."));
    }
    if (from.problems().empty()) return hash.digest();
    return invalid_argument("weights of model '" + config.name + "': " + from.problems().text());
  });
}

void BaseModel::finish() {
  WeightHash hash(config_);
  hash.add(embedding_);
  hash.add(final_norm_);
  if (!config_.tie_word_embeddings) hash.add(unembed_);
  for (const LayerWeights& layer : layers_) hash.add(layer);
  parameter_count_ = hash.elements();
  digest_ = hash.digest();
  rotary_table_ = make_rotary_table(config_, compute_dtype());
}

Result<std::shared_ptr<const BaseModel>> built_in_model(std::string_view name) {
  Result<ModelConfig> config = built_in_config(name);
  if (!config) return config.error();
  return BaseModel::random(std::move(*config), kBuiltInSeed);
}

}  // namespace tinkex::torch_ext::local
