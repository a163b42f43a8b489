#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// Cosines and sines of the rotary angles, (max positions, head_dim): cosines first. Angles are
/// computed in double, so that both element types, float32 and float64, get the nearest value.
at::Tensor make_rotary_table(const ModelConfig& config, at::ScalarType dtype);

/// How Llama 3.1 stretches its context, by the names of config.json (`rope_scaling`).
struct Llama3Scaling {
  double factor = 8;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  double original_max_position_embeddings = 8192;
};

/// The divisors of the head_dim / 2 rotary frequencies: 1 for waves that are short against the
/// original context, `factor` for those that are long, and between the two for the rest
/// (transformers, modeling_rope_utils.py: _compute_llama3_parameters).
std::vector<double> llama3_divisors(const Llama3Scaling& scaling, std::int64_t head_dim,
                                    double rope_theta);

}  // namespace tinkex::torch_ext::local
