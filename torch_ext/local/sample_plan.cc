#include "torch_ext/local/sample_plan.h"

#include <algorithm>
#include <string>
#include <utility>

#include "tinkex/validate.h"
#include "torch_ext/local/loss_inputs.h"
#include "torch_ext/local/random.h"
#include "torch_ext/local/refusal.h"

namespace tinkex::torch_ext::local {
namespace {

Result<std::int64_t> token_limit(const SampleRequest& request, const ModelConfig& model,
                                 std::int64_t prompt) {
  const std::int64_t room = model.max_position_embeddings - prompt;
  const std::int64_t wanted = request.params.max_tokens.value_or(std::max<std::int64_t>(room, 1));
  if (wanted <= room) return wanted;
  return refuse("the prompt has " + std::to_string(prompt) + " tokens and " +
                std::to_string(wanted) + " more are wanted, but '" + model.name + "' can read " +
                std::to_string(model.max_position_embeddings) +
                " in all; shorten the prompt or lower max_tokens");
}

}  // namespace

Result<SamplePlan> SamplePlan::of(const SampleRequest& request, const ModelConfig& model) {
  Status valid = refuse_unless(validate(request.params, request.num_samples));
  if (valid) valid = refuse_unless(validate(request.options));
  if (!valid) return valid.error();
  if (request.num_samples > kMaxSamples) {
    return refuse("num_samples is " + std::to_string(request.num_samples) + ", expected 1 to " +
                  std::to_string(kMaxSamples));
  }
  if (request.options.topk_prompt_logprobs > model.vocab_size) {
    return refuse("topk_prompt_logprobs is " +
                  std::to_string(request.options.topk_prompt_logprobs) + ", but '" + model.name +
                  "' has " + std::to_string(model.vocab_size) +
                  " tokens; ask for that many at most");
  }
  Result<std::vector<std::int64_t>> prompt = checked_tokens(request.prompt, "prompt", model);
  if (!prompt) return prompt.error();
  const auto limit = token_limit(request, model, static_cast<std::int64_t>(prompt->size()));
  if (!limit) return limit.error();
  Result<StopRules> stop = StopRules::create(request.params.stop, model);
  if (!stop) return stop.error();
  return SamplePlan{std::move(*prompt), *limit, request.params.seed.value_or(fresh_seed()),
                    std::move(*stop)};
}

}  // namespace tinkex::torch_ext::local
