#pragma once

#include <span>
#include <vector>

#include "torch_ext/local/loss_inputs.h"
#include "torch_ext/local/losses.h"

namespace tinkex::torch_ext::local {

/// Loss of a whole datum, and its gradient with respect to the log-probability of each position.
struct SequenceLoss {
  double loss = 0;
  std::vector<double> gradient;  ///< N
};

/// GSPO (Group Sequence Policy Optimization, 2025): one ratio for the sequence,
/// s = exp(mean of p - q over the masked positions), and for each position
/// -min(s A, clamp(s, lo, hi) A), summed. The gradient flows through s. `p` has one number per
/// position. Pure; infinite or NaN when s overflows float32.
SequenceLoss gspo_loss(const LossSpec& spec, const PreparedDatum& datum, std::span<const double> p);

}  // namespace tinkex::torch_ext::local
