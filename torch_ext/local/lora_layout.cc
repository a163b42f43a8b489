#include "torch_ext/local/lora_layout.h"

#include <algorithm>
#include <utility>

namespace tinkex::torch_ext::local {
namespace {

std::int64_t smallest_dimension(const ModelConfig& model, const LoraConfig& lora) {
  std::int64_t smallest = model.hidden_size;
  if (lora.train_attn) smallest = std::min({smallest, model.query_size(), model.key_value_size()});
  if (lora.train_mlp) smallest = std::min(smallest, model.intermediate_size);
  if (lora.train_unembed) smallest = std::min(smallest, model.vocab_size);
  return smallest;
}

}  // namespace

Result<std::shared_ptr<const LoraLayout>> LoraLayout::create(const ModelConfig& model,
                                                             const LoraConfig& lora) {
  if (!lora.train_attn && !lora.train_mlp && !lora.train_unembed) {
    return invalid_argument(
               "LoRA configuration trains nothing: set at least one of train_attn, train_mlp, "
               "train_unembed")
        .with_category(ErrorCategory::kUser);
  }
  const std::int64_t limit = smallest_dimension(model, lora);
  if (lora.rank < 1 || lora.rank > limit) {
    return invalid_argument("LoRA rank is " + std::to_string(lora.rank) + ", expected 1 to " +
                            std::to_string(limit) + " for model '" + model.name +
                            "' (the smallest dimension that it adapts)")
        .with_category(ErrorCategory::kUser);
  }
  auto layout = std::make_shared<LoraLayout>();
  layout->config_ = lora;
  for (std::int64_t i = 0; i < model.num_hidden_layers; ++i) {
    layout->add_layer("base_model.model.model.layers." + std::to_string(i) + ".", model);
  }
  if (lora.train_unembed) {
    layout->unembed_ =
        layout->add_group({{"base_model.model.lm_head", model.vocab_size}}, model.hidden_size);
  }
  return std::shared_ptr<const LoraLayout>(std::move(layout));
}

void LoraLayout::add_layer(const std::string& prefix, const ModelConfig& model) {
  LoraLayer layer;
  const std::int64_t d = model.hidden_size;
  if (config_.train_attn) {
    layer.qkv = add_group({{prefix + "self_attn.q_proj", model.query_size()},
                           {prefix + "self_attn.k_proj", model.key_value_size()},
                           {prefix + "self_attn.v_proj", model.key_value_size()}},
                          d);
    layer.o = add_group({{prefix + "self_attn.o_proj", d}}, model.query_size());
  }
  if (config_.train_mlp) {
    layer.gate_up = add_group({{prefix + "mlp.gate_proj", model.intermediate_size},
                               {prefix + "mlp.up_proj", model.intermediate_size}},
                              d);
    layer.down = add_group({{prefix + "mlp.down_proj", d}}, model.intermediate_size);
  }
  layers_.push_back(std::move(layer));
}

LoraGroup LoraLayout::add_group(const std::vector<Projection>& projections, std::int64_t in) {
  LoraGroup group;
  group.a_offset = size_;
  group.in = in;
  for (const Projection& each : projections) {
    add_matrix(each.module + ".lora_A.weight", config_.rank, in, true);
  }
  for (const Projection& each : projections) {
    group.b_offsets.push_back(
        add_matrix(each.module + ".lora_B.weight", each.out, config_.rank, false));
    group.outs.push_back(each.out);
  }
  return group;
}

std::int64_t LoraLayout::add_matrix(std::string name, std::int64_t rows, std::int64_t cols,
                                    bool is_a) {
  const std::int64_t offset = size_;
  matrices_.push_back({std::move(name), rows, cols, offset, is_a});
  size_ += rows * cols;
  return offset;
}

std::vector<std::string> LoraLayout::target_modules() const {
  std::vector<std::string> modules;
  if (config_.train_attn) modules.insert(modules.end(), {"q_proj", "k_proj", "v_proj", "o_proj"});
  if (config_.train_mlp) modules.insert(modules.end(), {"gate_proj", "up_proj", "down_proj"});
  if (config_.train_unembed) modules.emplace_back("lm_head");
  return modules;
}

}  // namespace tinkex::torch_ext::local
