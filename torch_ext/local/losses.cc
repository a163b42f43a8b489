#include "torch_ext/local/losses.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "tinkex/base/text.h"
#include "tinkex/validation/losses.h"
#include "torch_ext/local/refusal.h"

namespace tinkex::torch_ext::local {
namespace {

constexpr char kClipLow[] = "clip_low_threshold";
constexpr char kClipHigh[] = "clip_high_threshold";
constexpr char kBeta[] = "beta";
constexpr char kTemperature[] = "temperature";

constexpr std::pair<std::string_view, LossKind> kLosses[] = {
    {loss::kCrossEntropy, LossKind::kCrossEntropy},
    {loss::kImportanceSampling, LossKind::kImportanceSampling},
    {loss::kPpo, LossKind::kPpo},
    {loss::kCispo, LossKind::kCispo},
    {loss::kDro, LossKind::kDro},
    {loss::kGspo, LossKind::kGspo},
};

std::optional<double> number_of(const LossConfigValue& value) {
  if (const double* number = std::get_if<double>(&value)) {
    return std::isfinite(*number) ? std::optional(*number) : std::nullopt;
  }
  const std::string& text = std::get<std::string>(value);
  double number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = problem == std::errc() && end == text.data() + text.size();
  return whole && std::isfinite(number) ? std::optional(number) : std::nullopt;
}

std::string text_of(const LossConfigValue& value) {
  if (const double* number = std::get_if<double>(&value)) return std::to_string(*number);
  return "'" + std::get<std::string>(value) + "'";
}

/// Where a setting of that name goes, or null if the loss has none.
double* setting(LossSpec& spec, std::string_view key) {
  if (spec.uses_clip() && key == kClipLow) return &spec.clip_low;
  if (spec.uses_clip() && key == kClipHigh) return &spec.clip_high;
  if (spec.kind == LossKind::kDro && key == kBeta) return &spec.beta;
  if (key == kTemperature) return &spec.temperature;
  return nullptr;
}

std::string settings_of(const LossSpec& spec) {
  std::string names = "it has ";
  if (spec.uses_clip()) names += std::string(kClipLow) + ", " + kClipHigh + " and ";
  if (spec.kind == LossKind::kDro) names += std::string(kBeta) + " and ";
  return names + kTemperature;
}

LossSpec with_defaults(LossKind kind) {
  LossSpec spec;
  spec.kind = kind;
  if (kind == LossKind::kPpo) std::tie(spec.clip_low, spec.clip_high) = std::pair(0.8, 1.2);
  if (kind == LossKind::kCispo) std::tie(spec.clip_low, spec.clip_high) = std::pair(0.0, 4.0);
  // The paper's.
  if (kind == LossKind::kGspo)
    std::tie(spec.clip_low, spec.clip_high) = std::pair(1 - 3e-4, 1 + 4e-4);
  return spec;
}

Result<LossSpec> configure(LossSpec spec, std::string_view name, const LossConfig& config) {
  const std::string prefix = "loss_fn_config of " + std::string(name) + ": ";
  for (const auto& [key, value] : config) {
    double* target = setting(spec, key);
    if (target == nullptr) {
      return refuse(prefix + "unknown setting '" + key + "'; " + settings_of(spec));
    }
    const std::optional<double> number = number_of(value);
    if (!number || *number < 0) {
      return refuse(prefix + key + " is " + text_of(value) + ", expected a number from 0 on");
    }
    *target = *number;
  }
  if (spec.temperature == 0) return refuse(prefix + kTemperature + " is 0, expected more than 0");
  if (spec.clip_low > spec.clip_high) {
    return refuse(prefix + kClipLow + " (" + std::to_string(spec.clip_low) + ") is above " +
                  kClipHigh + " (" + std::to_string(spec.clip_high) + ")");
  }
  return spec;
}

TokenLoss unweighted(LossKind kind, double beta, double p, const TokenInputs& in) {
  const double a = in.coefficient;
  if (kind == LossKind::kCrossEntropy) return {-a * p, -a};
  const double gap = p - in.sampled_logprob;
  if (kind == LossKind::kDro) {
    return {-(p * a - beta / 2 * gap * gap), -(a - beta * gap)};
  }
  const double ratio = policy_ratio(gap);
  if (!std::isfinite(ratio)) return {ratio, ratio};
  switch (kind) {
    case LossKind::kPpo: {
      const TokenLoss clipped = clipped_loss(ratio, in);
      return {clipped.loss, ratio * clipped.gradient};
    }
    case LossKind::kCispo: {
      const double factor = std::clamp(ratio, in.clip_low, in.clip_high) * a;
      return {-factor * p, -factor};
    }
    default: return {-ratio * a, -ratio * a};
  }
}

LossSpec own_spec(const std::string& name, const LossConfig& config, const LogitsLoss& loss) {
  LossSpec spec;
  spec.kind = LossKind::kOwn;
  spec.name = name;
  spec.settings = config;
  spec.own = &loss;
  return spec;
}

}  // namespace

Status check_own_losses(const LogitsLosses& own) {
  for (const auto& [name, loss] : own) {
    if (name.empty() || !internal::is_utf8(name)) {
      return refuse("losses: a loss is called " + internal::quoted(name) +
                    ", expected a name in UTF-8");
    }
    const std::string prefix = "losses: " + internal::quoted(name);
    if (internal::find_loss(name) != nullptr) {
      return refuse(prefix +
                    " is a loss of the API, which cannot be replaced; choose another name");
    }
    if (!loss) return refuse(prefix + " is an empty function; give one that can be called");
  }
  return ok_status();
}

Result<LossSpec> parse_loss(std::string_view name, const LossConfig& config,
                            const LogitsLosses& own) {
  std::string known;
  for (const auto& [each, kind] : kLosses) {
    if (name == each) return configure(with_defaults(kind), name, config);
    known += (known.empty() ? "" : ", ") + std::string(each);
  }
  for (const auto& [each, loss] : own) {
    if (name == each) return own_spec(each, config, loss);
    known += ", " + each;
  }
  return refuse("unknown loss '" + std::string(name) + "'; this server has " + known);
}

double policy_ratio(double gap) {
  const double ratio = std::exp(gap);
  constexpr double kLargest = std::numeric_limits<float>::max();
  return ratio > kLargest ? std::numeric_limits<double>::infinity() : ratio;
}

TokenLoss clipped_loss(double ratio, const TokenInputs& in) {
  const double plain = ratio * in.coefficient;
  const double clipped = std::clamp(ratio, in.clip_low, in.clip_high) * in.coefficient;
  if (plain <= clipped) return {-plain, -in.coefficient};
  return {-clipped, 0.0};
}

TokenLoss token_loss(LossKind kind, double beta, double p, const TokenInputs& in) {
  const TokenLoss loss = unweighted(kind, beta, p, in);
  return {in.weight * loss.loss, in.weight * loss.gradient};
}

}  // namespace tinkex::torch_ext::local
