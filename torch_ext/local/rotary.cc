#include "torch_ext/local/rotary.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <cstddef>
#include <numbers>

namespace tinkex::torch_ext::local {
namespace {

/// Radians per position.
std::vector<double> frequencies(std::int64_t head_dim, double rope_theta) {
  std::vector<double> frequencies;
  frequencies.reserve(static_cast<std::size_t>(head_dim / 2));
  for (std::int64_t i = 0; i < head_dim / 2; ++i) {
    frequencies.push_back(
        std::pow(rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim)));
  }
  return frequencies;
}

template <class Number>
void fill(at::Tensor& table, const std::vector<double>& turns) {
  Number* row = table.mutable_data_ptr<Number>();
  for (std::int64_t position = 0; position < table.size(0); ++position) {
    for (std::size_t i = 0; i < turns.size(); ++i) {
      const double angle = static_cast<double>(position) * turns[i];
      row[i] = static_cast<Number>(std::cos(angle));
      row[turns.size() + i] = static_cast<Number>(std::sin(angle));
    }
    row += table.size(1);
  }
}

}  // namespace

at::Tensor make_rotary_table(const ModelConfig& config, at::ScalarType dtype) {
  std::vector<double> turns = frequencies(config.head_dim, config.rope_theta);
  for (std::size_t i = 0; i < config.rope_divisors.size(); ++i) turns[i] /= config.rope_divisors[i];
  at::Tensor table = at::empty({config.max_position_embeddings, config.head_dim}, dtype);
  if (dtype == at::ScalarType::Double) {
    fill<double>(table, turns);
  } else {
    fill<float>(table, turns);
  }
  return table;
}

std::vector<double> llama3_divisors(const Llama3Scaling& scaling, std::int64_t head_dim,
                                    double rope_theta) {
  const double context = scaling.original_max_position_embeddings;
  std::vector<double> divisors;
  for (const double turn : frequencies(head_dim, rope_theta)) {
    const double waves = context * turn / (2 * std::numbers::pi);  // in the original context
    if (waves > scaling.high_freq_factor) {
      divisors.push_back(1);
    } else if (waves < scaling.low_freq_factor) {
      divisors.push_back(scaling.factor);
    } else {
      const double smooth =
          (waves - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
      divisors.push_back(1 / ((1 - smooth) / scaling.factor + smooth));
    }
  }
  return divisors;
}

}  // namespace tinkex::torch_ext::local
