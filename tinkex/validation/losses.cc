#include "tinkex/validation/losses.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "tinkex/base/text.h"

namespace tinkex::internal {
namespace {

using Names = std::span<const std::string_view>;
using Settings = std::span<const LossSetting>;

constexpr std::string_view kClipLow = "clip_low_threshold";
constexpr std::string_view kClipHigh = "clip_high_threshold";

constexpr std::array<std::string_view, 1> kTargetsOnly{kTargetTokens};
constexpr std::array<std::string_view, 1> kWeights{"weights"};
constexpr std::array<std::string_view, 3> kPolicyInputs{kTargetTokens, "logprobs", "advantages"};
constexpr std::array<std::string_view, 4> kPolicyOptions{"weights", kClipLow, kClipHigh,
                                                         "sequence_ratio_mask"};

// Settings that servers of this API know. They divide the logits by the temperature.
constexpr LossSetting kTemperature{.name = "temperature", .positive = true};
constexpr std::array<LossSetting, 1> kPlainSettings{{kTemperature}};
constexpr std::array<LossSetting, 3> kClipSettings{{{kClipLow}, {kClipHigh}, kTemperature}};
constexpr std::array<LossSetting, 4> kPpoSettings{
    {{kClipLow}, {kClipHigh}, {"value_clip"}, kTemperature}};
constexpr std::array<LossSetting, 2> kDroSettings{{{"beta"}, kTemperature}};
constexpr std::array<LossSetting, 1> kCustomSettings{{{"loss_id", LossSetting::Type::kText, true}}};

constexpr LossRules policy_loss(std::string_view name, Settings settings) {
  return {
      .name = name, .required = kPolicyInputs, .optional = kPolicyOptions, .settings = settings};
}

constexpr std::array<LossRules, 8> kLosses{{
    {.name = loss::kCrossEntropy,
     .required = kTargetsOnly,
     .optional = kWeights,
     .many_targets = true,
     .settings = kPlainSettings},
    policy_loss(loss::kImportanceSampling, kPlainSettings),
    policy_loss(loss::kPpo, kPpoSettings),
    policy_loss(loss::kCispo, kClipSettings),
    policy_loss(loss::kDro, kDroSettings),
    policy_loss(loss::kGspo, kClipSettings),
    {.name = "stable_reinforce",
     .required = kTargetsOnly,
     .optional = Names{},
     .other_inputs = true,
     .other_settings = true},
    {.name = "custom",
     .required = kTargetsOnly,
     .optional = Names{},
     .other_inputs = true,
     .many_targets = true,
     .settings = kCustomSettings},
}};

constexpr LossRules kCustomFunction{.name = "a custom loss",
                                    .required = kTargetsOnly,
                                    .optional = kWeights,
                                    .other_inputs = true,
                                    .dense = true,
                                    .many_targets = true};

std::string field_of(std::string_view setting) { return "loss_fn_config " + quoted(setting); }

std::string settings_of(const LossRules& loss) {
  std::string names;
  for (const LossSetting& setting : loss.settings) {
    names += (names.empty() ? "" : ", ") + std::string(setting.name);
  }
  return names;
}

void check_number(const LossConfigValue& value, const LossSetting& setting, Problems& problems) {
  const double* number = std::get_if<double>(&value);
  if (number == nullptr) {
    problems.add({std::nullopt, field_of(setting.name)}, "a number",
                 "the text " + quoted(std::get<std::string>(value)), "pass it as a double");
  } else if (!std::isfinite(*number) || *number < 0 || (setting.positive && *number == 0)) {
    problems.add({std::nullopt, field_of(setting.name)},
                 setting.positive ? "a finite number above 0" : "a finite number of at least 0",
                 number_text(*number), "leave it out for the server's default");
  }
}

void check_text(const LossConfigValue& value, const LossSetting& setting, Problems& problems) {
  const std::string* text = std::get_if<std::string>(&value);
  if (text != nullptr && !text->empty() && is_utf8(*text)) return;
  problems.add({std::nullopt, field_of(setting.name)}, "a text that is not empty, in UTF-8",
               text ? quoted(*text) : "the number " + number_text(std::get<double>(value)),
               "pass it as a std::string");
}

void check_clip_order(const LossConfig& config, Problems& problems) {
  const auto low = config.find(std::string(kClipLow));
  const auto high = config.find(std::string(kClipHigh));
  if (low == config.end() || high == config.end()) return;
  const double* least = std::get_if<double>(&low->second);
  const double* most = std::get_if<double>(&high->second);
  if (least == nullptr || most == nullptr || !(*least > *most)) return;
  problems.add({std::nullopt, field_of(kClipLow)},
               "at most " + std::string(kClipHigh) + " (" + number_text(*most) + ")",
               number_text(*least), "both are ratios, such as 0.8 and 1.2");
}

}  // namespace

bool LossRules::knows(std::string_view input) const {
  return std::ranges::count(required, input) + std::ranges::count(optional, input) > 0;
}

const LossRules* find_loss(std::string_view name) {
  const auto found = std::ranges::find(kLosses, name, &LossRules::name);
  return found == kLosses.end() ? nullptr : &*found;
}

const LossRules& custom_loss_function() { return kCustomFunction; }

std::string inputs_of(const LossRules& loss) {
  std::string names;
  for (const Names& group : {loss.required, loss.optional}) {
    for (const std::string_view name : group)
      names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names;
}

void check_settings(const LossConfig& config, const LossRules& loss, Problems& problems) {
  for (const LossSetting& setting : loss.settings) {
    const auto found = config.find(std::string(setting.name));
    if (found == config.end()) {
      if (!setting.required) continue;
      problems.add({std::nullopt, field_of(setting.name)},
                   "this setting, which " + std::string(loss.name) + " needs", "none",
                   "add it to the loss's settings");
    } else if (setting.type == LossSetting::Type::kNumber) {
      check_number(found->second, setting, problems);
    } else {
      check_text(found->second, setting, problems);
    }
  }
  check_clip_order(config, problems);
  if (loss.other_settings) return;
  for (const auto& [name, value] : config) {
    if (std::ranges::find(loss.settings, name, &LossSetting::name) != loss.settings.end()) continue;
    problems.add({std::nullopt, field_of(name)},
                 "a setting of " + std::string(loss.name) + " (" + settings_of(loss) + ")",
                 "one that it does not have", "remove it");
  }
}

}  // namespace tinkex::internal
