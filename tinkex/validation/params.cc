#include <cmath>
#include <limits>
#include <string>
#include <variant>

#include "tinkex/base/text.h"
#include "tinkex/base/token_id.h"
#include "tinkex/validate.h"
#include "tinkex/validation/problems.h"
#include "tinkex/validation/prompt.h"

namespace tinkex {
namespace {

using internal::number_text;
using internal::Problems;

void check(bool good, std::string_view field, std::string_view expected, const std::string& got,
           std::string_view remedy, Problems& problems) {
  if (!good) problems.add({std::nullopt, field}, expected, got, remedy);
}

void check_not_negative(double value, std::string_view field, std::string_view remedy,
                        Problems& problems) {
  check(std::isfinite(value) && value >= 0, field, "a finite number of at least 0",
        number_text(value), remedy, problems);
}

void check_beta(double value, std::string_view field, std::string_view remedy, Problems& problems) {
  check(value >= 0 && value < 1, field, "a number in [0, 1)", number_text(value), remedy, problems);
}

/// Counts are 32-bit integers on the wire.
void check_count(std::int64_t least, std::int64_t value, std::string_view field,
                 std::string_view remedy, Problems& problems) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  check(value >= least, field, "at least " + std::to_string(least), std::to_string(value), remedy,
        problems);
  check(value <= kMost, field, "at most " + std::to_string(kMost), std::to_string(value), remedy,
        problems);
}

void check_stop(const SamplingParams::Stop& stop, std::size_t index, Problems& problems) {
  const std::string field = "stop[" + std::to_string(index) + "]";
  if (const auto* text = std::get_if<std::string>(&stop)) {
    check(!text->empty(), field, "a text that is not empty", "an empty text", "remove it",
          problems);
    check(internal::is_utf8(*text), field, "UTF-8", internal::quoted(*text),
          "cut texts between characters, not between bytes", problems);
    return;
  }
  const std::int64_t token = std::get<std::int64_t>(stop);
  check(internal::is_token_id(token), field, "a token id in [0, 2147483648)", std::to_string(token),
        "use an id of the model's own tokenizer", problems);
}

void check_sampling(const SamplingParams& params, std::int64_t num_samples, Problems& problems) {
  check_count(1, num_samples, "num_samples", "ask for one sample or more", problems);
  if (params.max_tokens) {
    check_count(1, *params.max_tokens, "max_tokens", "leave it out for the server's limit",
                problems);
  }
  check_not_negative(params.temperature, "temperature", "0 takes the likeliest token", problems);
  check(params.top_k == -1 || params.top_k >= 1, "top_k", "-1 or at least 1",
        std::to_string(params.top_k), "-1 switches it off", problems);
  check(params.top_p > 0 && params.top_p <= 1, "top_p", "a number in (0, 1]",
        number_text(params.top_p), "1 switches it off", problems);
  if (!params.stop) return;
  for (std::size_t i = 0; i < params.stop->size(); ++i) check_stop((*params.stop)[i], i, problems);
}

void check_options(const SampleOptions& options, Problems& problems) {
  check_count(0, options.topk_prompt_logprobs, "topk_prompt_logprobs", "0 switches it off",
              problems);
  // More than any vocabulary has: results would take memory without end.
  constexpr std::int64_t kMostCandidates = std::int64_t{1} << 20;
  check(options.topk_prompt_logprobs <= kMostCandidates, "topk_prompt_logprobs",
        "at most " + std::to_string(kMostCandidates), std::to_string(options.topk_prompt_logprobs),
        "ask for the likeliest few", problems);
}

}  // namespace

Status validate(const AdamParams& params) {
  Problems problems;
  check_not_negative(params.learning_rate, "learning_rate", "1e-4 is a usual value", problems);
  check_beta(params.beta1, "beta1", "the default is 0.9", problems);
  check_beta(params.beta2, "beta2", "the default is 0.95", problems);
  check(std::isfinite(params.eps) && params.eps > 0, "eps", "a finite number above 0",
        number_text(params.eps), "1e-8 and 1e-12 are usual", problems);
  check_not_negative(params.weight_decay, "weight_decay", "0 switches it off", problems);
  check_not_negative(params.grad_clip_norm, "grad_clip_norm", "0 switches clipping off", problems);
  return problems.status();
}

Status validate(const LoraConfig& config) {
  Problems problems;
  check_count(1, config.rank, "rank", "the default is 32", problems);
  check(config.seed.value_or(0) >= 0, "seed", "at least 0", std::to_string(config.seed.value_or(0)),
        "leave it out for a random one", problems);
  check(config.train_attn || config.train_mlp || config.train_unembed,
        "train_attn, train_mlp, train_unembed", "at least one of them true", "none",
        "without any of them there is nothing to train", problems);
  return problems.status();
}

Status validate(const SamplingParams& params, std::int64_t num_samples) {
  Problems problems;
  check_sampling(params, num_samples, problems);
  return problems.status();
}

Status validate(const SampleOptions& options) {
  Problems problems;
  check_options(options, problems);
  return problems.status();
}

ProblemList find_problems(const ModelInput& prompt, std::int64_t num_samples,
                          const SamplingParams& params, const SampleOptions& sample_options,
                          const ValidationOptions& options) {
  Problems problems(options.max_problems);
  const internal::PromptRules rules = internal::prompt_rules(options, problems);
  internal::check_prompt(prompt, {std::nullopt, "prompt"}, rules, problems);
  check_sampling(params, num_samples, problems);
  check_options(sample_options, problems);
  return std::move(problems).take();
}

}  // namespace tinkex
