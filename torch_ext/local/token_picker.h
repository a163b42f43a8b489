#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/params.h"

namespace tinkex::torch_ext::local {

/// Draws tokens from logits.
class TokenPicker {
 public:
  /// `params` must be valid.
  explicit TokenPicker(const SamplingParams& params);

  /// The log-probabilities that are reported and drawn from: log-softmax of logits (n, vocab) over
  /// the temperature.
  at::Tensor logprobs(const at::Tensor& logits) const;

  /// A token of the distribution `logprobs` (vocab entries), cut by top_k and top_p. `u` in [0, 1)
  /// decides; equal inputs give equal tokens. -1 if the distribution is not finite.
  template <class T>
  std::int64_t pick(const T* logprobs, std::int64_t vocab, double u) const;

 private:
  bool greedy() const;

  double temperature_;
  std::int64_t top_k_;
  double top_p_;
};

/// Calls `f` with the numbers of one row of `rows` (n, columns), contiguous.
template <class F>
auto with_row(const at::Tensor& rows, std::int64_t row, F&& f) {
  const std::int64_t offset = row * rows.size(1);
  if (rows.scalar_type() == at::ScalarType::Double) {
    return f(rows.const_data_ptr<double>() + offset);
  }
  return f(rows.const_data_ptr<float>() + offset);
}

/// The `count` likeliest tokens of a distribution, likeliest first, lower ids first on ties.
template <class T>
std::vector<std::int64_t> likeliest(const T* logprobs, std::int64_t vocab, std::int64_t count);

}  // namespace tinkex::torch_ext::local
