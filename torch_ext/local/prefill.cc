#include "torch_ext/local/prefill.h"

#include <limits>
#include <utility>
#include <vector>

#include "torch_ext/local/decoder.h"
#include "torch_ext/local/head.h"
#include "torch_ext/local/scratch.h"
#include "torch_ext/local/thread_limit.h"
#include "torch_ext/local/token_picker.h"

namespace tinkex::torch_ext::local {
namespace {

/// The log-probabilities of one position: that of the token that follows, and the likeliest.
template <class T>
void score_position(const T* logprobs, std::int64_t vocab, std::int64_t token, std::int64_t top,
                    SampleResponse& response) {
  response.prompt_logprobs.push_back(static_cast<float>(logprobs[token]));
  if (top == 0) return;
  std::vector<TokenLogprob>& best = response.topk_prompt_logprobs.emplace_back();
  for (const std::int64_t id : likeliest(logprobs, vocab, top)) {
    best.emplace_back(static_cast<std::int32_t>(id), static_cast<float>(logprobs[id]));
  }
}

Status score_prompt(const BaseModel& model, const AdapterViews& adapter, const SamplePlan& plan,
                    std::int64_t top, const at::Tensor& stream,
                    const std::function<bool()>& cancelled, SampleResponse& response) {
  response.prompt_logprobs.push_back(std::numeric_limits<float>::quiet_NaN());
  if (top > 0) response.topk_prompt_logprobs.emplace_back();
  if (plan.prompt_length() == 1) return ok_status();
  const at::Tensor rows = stream.narrow(0, 0, plan.prompt_length() - 1);
  return head_logprobs(
      model, adapter, rows, /*temperature=*/1.0, [&](const LogprobChunk& chunk) -> Status {
        for (std::int64_t row = 0; row < chunk.count; ++row) {
          const std::int64_t next = plan.prompt[static_cast<std::size_t>(chunk.first + row + 1)];
          with_row(chunk.logprobs, row, [&](const auto* values) {
            score_position(values, model.config().vocab_size, next, top, response);
          });
        }
        return cancelled && cancelled() ? Status(sample_cancelled()) : ok_status();
      });
}

}  // namespace

Error sample_cancelled() {
  return {ErrorCode::kCancelled, "sampling was cancelled before it finished"};
}

Result<Prefilled> prefill(const BaseModel& model, const AdapterViews& adapter,
                          const SamplePlan& plan, const SampleOptions& options,
                          const std::function<bool()>& cancelled, SampleResponse& response) {
  const std::int64_t length = plan.prompt_length();
  const SingleThread threads(!worth_threads(model.config(), length));
  ScratchPool pool;
  const ScratchScope scope(pool);
  auto cache = std::make_shared<KvCache>(model.config(), length, model.compute_dtype());
  const at::Tensor stream = decoder_forward(model, adapter, token_tensor(plan.prompt), length,
                                            nullptr, cache.get(), cancelled);
  if (!stream.defined()) return sample_cancelled();
  if (options.prompt_logprobs || options.topk_prompt_logprobs > 0) {
    Status scored = score_prompt(model, adapter, plan, options.topk_prompt_logprobs, stream,
                                 cancelled, response);
    if (!scored) return scored.error();
  }
  return Prefilled{std::move(cache), head_logits(model, adapter, stream.narrow(0, length - 1, 1))};
}

}  // namespace tinkex::torch_ext::local
