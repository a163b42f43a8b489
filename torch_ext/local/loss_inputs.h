#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "torch_ext/local/config.h"
#include "torch_ext/local/losses.h"

namespace tinkex::torch_ext::local {

/// What a loss of the user's gets the tokens as.
inline constexpr char kTokensInput[] = "tokens";

/// A datum after validation: dense arrays of known types. N positions, K targets each.
struct PreparedDatum {
  std::vector<std::int64_t> tokens;        ///< N
  std::vector<std::int64_t> targets;       ///< N * K, or empty if an own loss needs none.
  std::vector<std::int64_t> target_shape;  ///< (N) or (N, K), or empty.
  std::int64_t columns = 1;                ///< K
  std::vector<float> coefficients;         ///< N * K weights, or N advantages.
  std::vector<float> weights;              ///< N, or empty: factors of a policy loss.
  std::vector<float> sampled_logprobs;     ///< N, or empty.
  std::vector<float> clip_low, clip_high;  ///< N, or empty: bounds of single positions.
  std::vector<float> ratio_mask;           ///< N, or empty: sequence_ratio_mask of gspo.
  const NamedTensors* named = nullptr;     ///< For an own loss: the datum's inputs, borrowed.

  std::int64_t length() const { return static_cast<std::int64_t>(tokens.size()); }
  /// Whether position i has a coefficient, and a weight if there are any, other than 0.
  bool has_coefficient(std::size_t i) const;
  /// How much position i counts in the ratio of its sequence: its sequence_ratio_mask, or without
  /// that 1 where the advantage is not 0.
  double in_ratio(std::size_t i) const;
  /// Whether the loss may have a gradient with respect to the log-probability at position i.
  bool may_have_gradient(const LossSpec& spec, std::size_t i) const;
  /// Inputs of target k of position i.
  TokenInputs inputs(const LossSpec& spec, std::size_t i, std::size_t k) const;
};

/// Checks one datum against the model and the loss, if it is one of the API's; inputs of an own
/// loss are the function's affair, except for `target_tokens`. Messages begin with "datum <index>".
Result<PreparedDatum> prepare_datum(const Datum& datum, std::size_t index, const LossSpec& spec,
                                    const ModelConfig& model);

/// The text tokens of `input`, each inside the vocabulary; an empty input, an image or a sequence
/// longer than the context is refused. Messages begin with `what`.
Result<std::vector<std::int64_t>> checked_tokens(const ModelInput& input, const std::string& what,
                                                 const ModelConfig& model);

}  // namespace tinkex::torch_ext::local
