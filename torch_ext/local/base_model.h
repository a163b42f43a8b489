#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// Weights of one layer. Projections are (out, in), those with a common input stacked by rows.
struct LayerWeights {
  at::Tensor input_norm;           ///< (d)
  at::Tensor qkv;                  ///< ((heads + 2 kv heads) * head_dim, d)
  at::Tensor qkv_bias;             ///< Its rows'; undefined without ModelConfig::attention_bias.
  at::Tensor q_norm;               ///< (head_dim); undefined without ModelConfig::qk_norm.
  at::Tensor k_norm;               ///< The same.
  at::Tensor o;                    ///< (d, heads * head_dim)
  at::Tensor post_attention_norm;  ///< (d)
  at::Tensor gate_up;              ///< (2 * intermediate, d)
  at::Tensor down;                 ///< (d, intermediate)
};

/// Frozen weights of a transformer, with its tokenizer. Immutable, thread-safe.
class BaseModel {
 public:
  /// Weights by name as Hugging Face spells them (`model.layers.0.self_attn.q_proj.weight`); an
  /// undefined tensor means absent.
  using TensorSource = std::function<at::Tensor(const std::string& name)>;

  /// Draws the weights; every tensor has its own random stream, keyed by the seed and its name.
  /// `dtype` is that of the matrices: float32, bfloat16, or
  /// float64 for numerical tests.
  static Result<std::shared_ptr<const BaseModel>> random(
      ModelConfig config, std::uint64_t seed, at::ScalarType dtype = at::ScalarType::Float);

  /// Takes the weights from `source`; they are copied and converted to `dtype`, each asked
  /// for once. Missing tensors and wrong shapes are named in one error. Without a tokenizer, bytes
  /// are the tokens.
  static Result<std::shared_ptr<const BaseModel>> from_tensors(
      ModelConfig config, const TensorSource& source, at::ScalarType dtype = at::ScalarType::Float,
      std::shared_ptr<const Tokenizer> tokenizer = nullptr);

  /// What digest() of from_tensors() would be. Holds no more than a layer at a time.
  static Result<std::string> digest_of(const ModelConfig& config, const TensorSource& source,
                                       at::ScalarType dtype);

  const ModelConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  /// Of the frozen matrices.
  at::ScalarType dtype() const { return embedding_.scalar_type(); }
  /// Of everything that is computed, and of adapters: float32 where the matrices are bfloat16.
  at::ScalarType compute_dtype() const { return final_norm_.scalar_type(); }
  /// Weights of the model; a tied embedding counts once.
  std::int64_t parameter_count() const { return parameter_count_; }
  /// Sixteen hexadecimal digits over the shape and every weight: equal models, equal digests.
  const std::string& digest() const { return digest_; }

  /// Why the weights are not in huge pages; empty: the system was asked for them and agreed.
  const std::string& why_not_huge() const { return why_not_huge_; }

  const at::Tensor& embedding() const { return embedding_; }  ///< (vocab, d)
  const at::Tensor& unembed() const { return unembed_; }      ///< (vocab, d)
  const at::Tensor& final_norm() const { return final_norm_; }
  const std::vector<LayerWeights>& layers() const { return layers_; }
  /// Cosines and sines of the rotary angles, (max positions, head_dim): cosines first.
  const at::Tensor& rotary_table() const { return rotary_table_; }

 private:
  BaseModel() = default;
  void finish();

  ModelConfig config_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::int64_t parameter_count_ = 0;
  std::string digest_;
  std::string why_not_huge_;
  at::Tensor embedding_;
  at::Tensor unembed_;
  at::Tensor final_norm_;
  at::Tensor rotary_table_;
  std::vector<LayerWeights> layers_;
};

/// A built-in model, always with the same weights.
Result<std::shared_ptr<const BaseModel>> built_in_model(std::string_view name);

}  // namespace tinkex::torch_ext::local
