#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tinkex/params.h"
#include "tinkex/validation/problems.h"

namespace tinkex::internal {

inline constexpr std::string_view kTargetTokens = "target_tokens";

/// One setting of a loss.
struct LossSetting {
  enum class Type { kNumber, kText };

  std::string_view name;
  Type type = Type::kNumber;
  bool required = false;
  bool positive = false;  ///< A number that may not be 0.
};

/// What is known of a loss.
struct LossRules {
  std::string_view name;
  std::span<const std::string_view> required;
  /// These, and the required ones, have the shape of `target_tokens` and finite values.
  std::span<const std::string_view> optional;
  /// Whether inputs of other names are the loss's own, of any shape.
  bool other_inputs = false;
  /// Whether its own inputs must be dense.
  bool dense = false;
  /// Whether a position may have several targets.
  bool many_targets = false;
  std::span<const LossSetting> settings{};
  bool other_settings = false;

  bool knows(std::string_view input) const;
};

/// The rules of one of the API's own losses, or null.
const LossRules* find_loss(std::string_view name);
/// The rules for the data of a custom loss function.
const LossRules& custom_loss_function();

/// "target_tokens, weights".
std::string inputs_of(const LossRules& loss);

/// Checks the settings: known, of the right type, in range, consistent.
void check_settings(const LossConfig& config, const LossRules& loss, Problems& problems);

}  // namespace tinkex::internal
