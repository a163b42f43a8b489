#include "torch_ext/local/sequence_loss.h"

#include <cmath>

namespace tinkex::torch_ext::local {

SequenceLoss gspo_loss(const LossSpec& spec, const PreparedDatum& datum,
                       std::span<const double> p) {
  double gaps = 0;
  double mask = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double m = datum.in_ratio(i);
    if (m == 0) continue;
    gaps += m * (p[i] - static_cast<double>(datum.sampled_logprobs[i]));
    mask += m;
  }
  SequenceLoss out{0, std::vector<double>(p.size())};
  if (mask == 0) return out;  // Nothing was sampled: every advantage is 0 too.
  const double ratio = policy_ratio(gaps / mask);
  double d_ratio = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const TokenInputs in = datum.inputs(spec, i, 0);
    const TokenLoss token = clipped_loss(ratio, in);
    out.loss += in.weight * token.loss;
    d_ratio += in.weight * token.gradient;
  }
  for (std::size_t i = 0; i < p.size(); ++i) {
    out.gradient[i] = d_ratio * ratio * datum.in_ratio(i) / mask;
  }
  return out;
}

}  // namespace tinkex::torch_ext::local
