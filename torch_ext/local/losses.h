#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tinkex/error.h"
#include "tinkex/params.h"
#include "torch_ext/logits_loss.h"

namespace tinkex::torch_ext::local {

enum class LossKind { kCrossEntropy, kImportanceSampling, kPpo, kCispo, kDro, kGspo, kOwn };

/// A loss with its settings. Every loss of the API is a function of p, the log-probabilities of the
/// positions' targets, so its gradient is one number per position; all but gspo are sums over
/// positions. One of the user's own is a function of the logits.
struct LossSpec {
  LossKind kind = LossKind::kCrossEntropy;
  /// Bounds on the ratio exp(p - q) itself (ppo, cispo), or on that of the sequence (gspo).
  double clip_low = 0.0;
  double clip_high = 0.0;
  /// Strength of dro's pull towards q. The API does not publish a default; this is the one of its
  /// documentation's example.
  double beta = 0.05;
  /// What the logits are divided by before p is taken from them.
  double temperature = 1.0;
  /// Of kOwn: its name and settings, and the function, which is borrowed.
  std::string name;
  LossConfig settings;
  const LogitsLoss* own = nullptr;

  /// Whether the loss compares p with the log-probability recorded while sampling.
  bool uses_sampled_logprobs() const {
    return kind != LossKind::kCrossEntropy && kind != LossKind::kOwn;
  }
  /// Whether a position may have several targets.
  bool many_targets() const { return !uses_sampled_logprobs(); }
  bool uses_clip() const {
    return kind == LossKind::kPpo || kind == LossKind::kCispo || kind == LossKind::kGspo;
  }
  /// Whether a position's loss depends on the others' p.
  bool whole_sequence() const { return kind == LossKind::kGspo; }
  /// Whether a position whose weight or advantage is 0 has gradient 0.
  bool zero_without_coefficient() const { return kind != LossKind::kDro; }
};

/// Whether users may call their losses so: a missing function and a name of the API's losses are
/// refused.
Status check_own_losses(const LogitsLosses& own);

/// The loss of that name, of the API's or of `own`, with the settings of `config`: an unknown loss
/// or setting is refused, and the message lists the known ones. A number may come as text.
Result<LossSpec> parse_loss(std::string_view name, const LossConfig& config,
                            const LogitsLosses& own = {});

/// What one position brings to its loss.
struct TokenInputs {
  double coefficient = 0;      ///< Weight (cross_entropy) or advantage.
  double sampled_logprob = 0;  ///< q.
  double clip_low = 0;
  double clip_high = 0;
  /// Factor of a policy loss. The API lists the input without saying what it does; servers that
  /// take it multiply.
  double weight = 1;
};

struct TokenLoss {
  double loss = 0;
  double gradient = 0;  ///< d loss / d p.
};

/// exp(gap), infinite where float32 would be.
double policy_ratio(double gap);
/// -min(r A, clamp(r, lo, hi) A), and its derivative with respect to r, both without the weight.
TokenLoss clipped_loss(double ratio, const TokenInputs& inputs);

/// Of a loss that is a sum over positions. Pure. The results are infinite or NaN when exp(p - q)
/// overflows float32.
TokenLoss token_loss(LossKind kind, double beta, double p, const TokenInputs& inputs);

}  // namespace tinkex::torch_ext::local
