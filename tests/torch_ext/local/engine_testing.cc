#include "tests/torch_ext/local/engine_testing.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "torch_ext/local/random.h"

namespace tinkex::torch_ext::local::testing {
namespace {

const std::vector<std::int64_t> kLengths{5, 1, 9, 7, 9, 3, 12};

at::Tensor normal(std::vector<std::int64_t> shape, const std::string& name, std::uint64_t seed,
                  double std) {
  at::Tensor tensor = at::empty(shape, at::ScalarType::Double);
  fill_normal(tensor, RandomStream::named(seed, name), std);
  return tensor;
}

}  // namespace

ModelConfig small_config() {
  ModelConfig config;
  config.name = "test/small";
  config.vocab_size = 50;
  config.hidden_size = 20;
  config.intermediate_size = 36;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 6;
  config.max_position_embeddings = 48;
  config.eos_token_ids = {7};
  return config;
}

Weights random_weights(const ModelConfig& c, std::uint64_t seed) {
  Weights weights;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    const double std = 1.5 / std::sqrt(static_cast<double>(c.hidden_size));
    weights[name] = normal(std::move(shape), name, seed, std);
  };
  const auto add_norm = [&](const std::string& name) {
    weights[name] = normal({c.hidden_size}, name, seed, 0.2) + at::ones({1});
  };
  add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  add("lm_head.weight", {c.vocab_size, c.hidden_size});
  add_norm("model.norm.weight");
  for (std::int64_t i = 0; i < c.num_hidden_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    add_norm(layer + "input_layernorm.weight");
    add_norm(layer + "post_attention_layernorm.weight");
    add(layer + "self_attn.q_proj.weight", {c.query_size(), c.hidden_size});
    add(layer + "self_attn.k_proj.weight", {c.key_value_size(), c.hidden_size});
    add(layer + "self_attn.v_proj.weight", {c.key_value_size(), c.hidden_size});
    add(layer + "self_attn.o_proj.weight", {c.hidden_size, c.query_size()});
    add(layer + "mlp.gate_proj.weight", {c.intermediate_size, c.hidden_size});
    add(layer + "mlp.up_proj.weight", {c.intermediate_size, c.hidden_size});
    add(layer + "mlp.down_proj.weight", {c.hidden_size, c.intermediate_size});
  }
  return weights;
}

std::shared_ptr<const BaseModel> model_of(const ModelConfig& config, const Weights& weights,
                                          at::ScalarType dtype) {
  const auto source = [&](const std::string& name) {
    const auto found = weights.find(name);
    return found != weights.end() ? found->second : at::Tensor();
  };
  return BaseModel::from_tensors(config, source, dtype).value();
}

std::shared_ptr<const BaseModel> small_model(at::ScalarType dtype) {
  return model_of(small_config(), random_weights(small_config(), 1), dtype);
}

std::shared_ptr<const Adapter> noisy_adapter(const BaseModel& model, const LoraConfig& config,
                                             std::uint64_t seed) {
  const auto layout = LoraLayout::create(model.config(), config).value();
  at::Tensor flat = at::empty({layout->size()}, model.dtype());
  fill_normal(flat, RandomStream(seed), 0.1);
  return Adapter::from_flat(layout, flat);
}

LoraConfig rank(std::int64_t rank) {
  LoraConfig config;
  config.rank = rank;
  return config;
}

std::vector<std::int64_t> random_tokens(std::int64_t count, std::int64_t vocab,
                                        std::uint64_t seed) {
  std::vector<std::int64_t> tokens;
  const RandomStream stream(seed, 77);
  for (std::int64_t i = 0; i < count; ++i) {
    const double u = stream.uniform(static_cast<std::uint64_t>(i));
    tokens.push_back(static_cast<std::int64_t>(u * static_cast<double>(vocab)));
  }
  return tokens;
}

std::vector<float> random_floats(std::size_t count, float low, float high, std::uint64_t seed) {
  std::vector<float> values;
  const RandomStream stream(seed, 78);
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(low + (high - low) * static_cast<float>(stream.uniform(i)));
  }
  return values;
}

Datum cross_entropy_datum(std::vector<std::int64_t> tokens, std::vector<std::int64_t> targets,
                          std::vector<float> weights) {
  Datum datum;
  datum.model_input = ModelInput::from_tokens(std::move(tokens));
  datum.loss_fn_inputs.emplace_back("target_tokens", TensorData::from(std::move(targets)));
  datum.loss_fn_inputs.emplace_back("weights", TensorData::from(std::move(weights)));
  return datum;
}

Datum policy_datum(std::vector<std::int64_t> tokens, std::vector<std::int64_t> targets,
                   std::vector<float> sampled, std::vector<float> advantages) {
  Datum datum;
  datum.model_input = ModelInput::from_tokens(std::move(tokens));
  datum.loss_fn_inputs.emplace_back("target_tokens", TensorData::from(std::move(targets)));
  datum.loss_fn_inputs.emplace_back("logprobs", TensorData::from(std::move(sampled)));
  datum.loss_fn_inputs.emplace_back("advantages", TensorData::from(std::move(advantages)));
  return datum;
}

std::vector<Datum> cross_entropy_batch(std::int64_t vocab, std::uint64_t seed) {
  std::vector<Datum> data;
  for (const std::int64_t length : kLengths) {
    const std::uint64_t own = seed * 100 + data.size();
    data.push_back(cross_entropy_datum(
        random_tokens(length, vocab, own), random_tokens(length, vocab, own + 50),
        random_floats(static_cast<std::size_t>(length), -0.5F, 1, own)));
  }
  return data;
}

std::vector<Datum> policy_batch(const std::vector<Datum>& tokens,
                                const std::vector<std::vector<float>>& logprobs, float spread,
                                std::uint64_t seed) {
  std::vector<Datum> data;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::uint64_t own = seed * 100 + i;
    const std::size_t length = logprobs[i].size();
    std::vector<float> sampled = random_floats(length, -spread, spread, own);
    for (std::size_t t = 0; t < length; ++t) sampled[t] += logprobs[i][t];
    data.push_back(policy_datum(tokens[i].model_input.text_tokens(),
                                find(tokens[i].loss_fn_inputs, "target_tokens")->to_ints(),
                                std::move(sampled), random_floats(length, -1, 1, own + 50)));
  }
  return data;
}

PassOutput pass(const BaseModel& model, const Adapter& adapter, const std::vector<Datum>& data,
                std::string_view loss, bool with_gradient, const LossConfig& config,
                const PassOptions& options, const LogitsLosses& own) {
  const LossSpec spec = parse_loss(loss, config, own).value();
  std::vector<PreparedDatum> prepared;
  for (std::size_t i = 0; i < data.size(); ++i) {
    prepared.push_back(prepare_datum(data[i], i, spec, model.config()).value());
  }
  return run_pass(model, adapter, spec, prepared, with_gradient, options).value();
}

Threads::Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }

Threads::~Threads() { at::set_num_threads(before_); }

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::ScalarType::Double);
  const at::Tensor y = b.to(at::ScalarType::Double);
  return (x - y).norm().item<double>() / std::max(1e-30, y.norm().item<double>());
}

bool bit_equal(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) return false;
  const at::Tensor x = a.contiguous();
  const at::Tensor y = b.contiguous();
  return x.numel() == 0 || std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

double largest_gap(const std::vector<std::vector<float>>& a,
                   const std::vector<std::vector<float>>& b) {
  if (a.size() != b.size()) return INFINITY;
  double gap = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return INFINITY;
    for (std::size_t j = 0; j < a[i].size(); ++j) {
      gap = std::max(gap, std::abs(static_cast<double>(a[i][j]) - static_cast<double>(b[i][j])));
    }
  }
  return gap;
}

}  // namespace tinkex::torch_ext::local::testing
