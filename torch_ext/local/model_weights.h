#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// Shapes by name, slowest dimension first.
using WeightShapes = std::map<std::string, std::vector<std::int64_t>>;

/// Every weight of a model of that shape, as Hugging Face spells it
/// (`model.layers.0.self_attn.q_proj.weight`). The list grows with the number of layers: compare
/// that with what there is first.
WeightShapes expected_weights(const ModelConfig& config);

/// The fields of config.json that a weight's dimensions come from, where a shape has others than
/// the expected one: `num_key_value_heads, head_dim`.
std::vector<std::string_view> fields_of_shape(std::string_view weight,
                                              const std::vector<std::int64_t>& shape,
                                              const std::vector<std::int64_t>& expected);

/// The field of config.json by which such a model has that weight, or has it not. `has_layer` tells
/// whether the other side of a comparison has any weight of the same layer. Empty: none has.
std::string_view field_of_presence(std::string_view weight, bool has_layer);

/// What is wrong with the tensors of a model: the first eight in words, the others counted.
class TensorProblems {
 public:
  /// "tensor 'NAME' WHAT".
  void add(std::string_view tensor, const std::string& what);
  /// Complains about another shape than the expected one; whether it did.
  bool add_wrong_shape(std::string_view tensor, const std::vector<std::int64_t>& shape,
                       const std::vector<std::int64_t>& expected);

  bool empty() const noexcept { return count_ == 0; }
  std::string text() const;

 private:
  std::string named_;
  std::size_t count_ = 0;
};

}  // namespace tinkex::torch_ext::local
