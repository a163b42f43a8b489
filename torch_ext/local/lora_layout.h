#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/params.h"
#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// Numerator of the scale: an adapter adds (kLoraAlpha / rank) * B A to the weight it adapts.
inline constexpr double kLoraAlpha = 32.0;

/// One LoRA matrix inside the flat parameter vector.
struct LoraMatrix {
  std::string name;  ///< As PEFT stores it: `base_model.model....lora_A.weight`.
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t offset = 0;  ///< In elements, from the start of the flat vector.
  bool is_a = false;        ///< A (rank, in), drawn at random; else B (out, rank), zero at first.
};

/// The matrices of projections that share their input: the A's stacked, then one B each.
struct LoraGroup {
  std::int64_t a_offset = 0;
  std::int64_t in = 0;
  std::vector<std::int64_t> b_offsets;
  std::vector<std::int64_t> outs;
  bool present() const { return !outs.empty(); }
};

/// Adapters of one layer; a group that is not trained is absent.
struct LoraLayer {
  LoraGroup qkv, o, gate_up, down;
};

/// Where every LoRA matrix of a run lies in one contiguous vector. Immutable.
class LoraLayout {
 public:
  /// Refuses a rank outside [1, smallest dimension it would be applied to], and a configuration
  /// that trains nothing.
  static Result<std::shared_ptr<const LoraLayout>> create(const ModelConfig& model,
                                                          const LoraConfig& lora);

  /// As given to `create`, except that the seed may be absent.
  const LoraConfig& config() const { return config_; }
  double scale() const { return kLoraAlpha / static_cast<double>(config_.rank); }
  std::int64_t size() const { return size_; }
  const std::vector<LoraMatrix>& matrices() const { return matrices_; }
  const std::vector<LoraLayer>& layers() const { return layers_; }
  const LoraGroup& unembed() const { return unembed_; }
  /// Last parts of the adapted modules' names: `q_proj`, ..., `lm_head`.
  std::vector<std::string> target_modules() const;

 private:
  struct Projection {
    std::string module;
    std::int64_t out;
  };
  void add_layer(const std::string& prefix, const ModelConfig& model);
  LoraGroup add_group(const std::vector<Projection>& projections, std::int64_t in);
  std::int64_t add_matrix(std::string name, std::int64_t rows, std::int64_t cols, bool is_a);

  LoraConfig config_;
  std::int64_t size_ = 0;
  std::vector<LoraMatrix> matrices_;
  std::vector<LoraLayer> layers_;
  LoraGroup unembed_;
};

}  // namespace tinkex::torch_ext::local
