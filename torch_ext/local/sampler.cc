#include "torch_ext/local/sampler.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "tinkex/validate.h"
#include "torch_ext/local/decoder.h"
#include "torch_ext/local/guard.h"
#include "torch_ext/local/head.h"
#include "torch_ext/local/kv_cache.h"
#include "torch_ext/local/lanes.h"
#include "torch_ext/local/loss_inputs.h"
#include "torch_ext/local/random.h"
#include "torch_ext/local/refusal.h"
#include "torch_ext/local/stop_rules.h"
#include "torch_ext/local/thread_limit.h"
#include "torch_ext/local/token_picker.h"

namespace tinkex::torch_ext::local {
namespace {

/// Sequences that are decoded together; more samples follow in further groups.
constexpr std::int64_t kDecodeBatch = 64;

/// A request after validation.
struct Plan {
  std::vector<std::int64_t> prompt;
  std::int64_t max_tokens = 0;
  std::uint64_t seed = 0;
  StopRules stop;
};

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

Result<Plan> plan_of(const SampleRequest& request, const ModelConfig& model) {
  Status valid = refuse_unless(validate(request.params, request.num_samples));
  if (valid) valid = refuse_unless(validate(request.options));
  if (!valid) return valid.error();
  if (request.num_samples > kMaxSamples) {
    return refuse("num_samples is " + std::to_string(request.num_samples) + ", expected 1 to " +
                  std::to_string(kMaxSamples));
  }
  Result<std::vector<std::int64_t>> prompt = checked_tokens(request.prompt, "prompt", model);
  if (!prompt) return prompt.error();
  const auto limit = token_limit(request, model, static_cast<std::int64_t>(prompt->size()));
  if (!limit) return limit.error();
  Result<StopRules> stop = StopRules::create(request.params.stop, model);
  if (!stop) return stop.error();
  return Plan{std::move(*prompt), *limit, request.params.seed.value_or(fresh_seed()),
              std::move(*stop)};
}

template <class F>
auto with_row(const at::Tensor& rows, std::int64_t row, F&& f) {
  const std::int64_t offset = row * rows.size(1);
  if (rows.scalar_type() == at::ScalarType::Double)
    return f(rows.const_data_ptr<double>() + offset);
  return f(rows.const_data_ptr<float>() + offset);
}

/// A sequence that is being decoded.
struct Growing {
  std::size_t index;  ///< In the response.
  RandomStream stream;
  std::string tail;
};

/// Carries one request through prefill and decoding.
class Sampling {
 public:
  Sampling(const BaseModel& model, const Adapter* adapter, const SampleRequest& request, Plan plan,
           const std::atomic<bool>* cancelled)
      : model_(model),
        views_(AdapterViews::of(adapter != nullptr ? &adapter->layout() : nullptr,
                                adapter != nullptr ? adapter->flat() : at::Tensor(),
                                model.config().num_hidden_layers)),
        request_(request),
        plan_(std::move(plan)),
        picker_(request.params),
        cancelled_(cancelled),
        prompt_cache_(model.config(), 1, prompt_length(), model.dtype()) {}

  Result<SampleResponse> run() {
    const Result<at::Tensor> first = prefill();
    if (!first) return first.error();
    response_.sequences.resize(static_cast<std::size_t>(request_.num_samples));
    const Status decoded = decode(*first);
    if (!decoded) return decoded.error();
    return std::move(response_);
  }

 private:
  /// Reads the prompt; the log-probabilities of the first new token, (1, vocab).
  Result<at::Tensor> prefill() {
    const SingleThread threads(!worth_threads(model_.config(), prompt_length()));
    const at::Tensor stream = decoder_forward(model_, views_, tensor_of(plan_.prompt),
                                              prompt_length(), nullptr, &prompt_cache_);
    const Status scored = score_prompt(stream);
    if (!scored) return scored.error();
    return picker_.logprobs(head_logits(model_, views_, stream.narrow(0, prompt_length() - 1, 1)));
  }

  std::int64_t prompt_length() const { return static_cast<std::int64_t>(plan_.prompt.size()); }

  static at::Tensor tensor_of(const std::vector<std::int64_t>& values) {
    at::Tensor tensor = at::empty({static_cast<std::int64_t>(values.size())}, at::ScalarType::Long);
    std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<std::int64_t>());
    return tensor;
  }

  /// Log-probabilities of the prompt tokens, each given those before it, where asked for.
  Status score_prompt(const at::Tensor& stream) {
    const std::int64_t top = request_.options.topk_prompt_logprobs;
    if (!request_.options.prompt_logprobs && top == 0) return ok_status();
    response_.prompt_logprobs.push_back(std::numeric_limits<float>::quiet_NaN());
    if (top > 0) response_.topk_prompt_logprobs.emplace_back();
    if (prompt_length() == 1) return ok_status();
    const at::Tensor rows = stream.narrow(0, 0, prompt_length() - 1);
    return head_logprobs(model_, views_, rows, [&](const LogprobChunk& chunk) -> Status {
      for (std::int64_t row = 0; row < chunk.count; ++row) {
        const auto next = static_cast<std::size_t>(chunk.first + row + 1);
        with_row(chunk.logprobs, row,
                 [&](const auto* values) { score_position(values, plan_.prompt[next], top); });
      }
      return is_cancelled() ? cancelled_error() : ok_status();
    });
  }

  template <class T>
  void score_position(const T* logprobs, std::int64_t token, std::int64_t top) {
    response_.prompt_logprobs.push_back(static_cast<float>(logprobs[token]));
    if (top == 0) return;
    std::vector<TokenLogprob>& best = response_.topk_prompt_logprobs.emplace_back();
    for (const std::int64_t id : likeliest(logprobs, model_.config().vocab_size, top)) {
      best.emplace_back(static_cast<std::int32_t>(id), static_cast<float>(logprobs[id]));
    }
  }

  /// Decodes all samples in groups, side by side if that is worth it.
  Status decode(const at::Tensor& first) {
    const std::int64_t samples = request_.num_samples;
    const std::int64_t wanted = worth_lanes(model_.config(), samples) ? available_threads() : 1;
    const std::int64_t size = std::min(kDecodeBatch, (samples + wanted - 1) / wanted);
    const std::int64_t groups = (samples + size - 1) / size;
    const std::int64_t lanes = std::min(wanted, groups);
    const bool threads = worth_threads(model_.config(), size);
    return run_lanes(static_cast<std::size_t>(lanes), threads, [&](std::size_t lane) -> Status {
      for (auto group = static_cast<std::int64_t>(lane); group < groups; group += lanes) {
        const std::int64_t begin = group * size;
        Status status = decode_group(begin, std::min(size, samples - begin), first);
        if (!status) return status;
      }
      return ok_status();
    });
  }

  /// Decodes samples [begin, begin + count), which start from the same distribution.
  Status decode_group(std::int64_t begin, std::int64_t count, const at::Tensor& first) {
    std::vector<Growing> growing;
    for (std::int64_t i = begin; i < begin + count; ++i) {
      growing.push_back({static_cast<std::size_t>(i),
                         RandomStream(plan_.seed, static_cast<std::uint64_t>(i)),
                         {}});
    }
    const std::int64_t capacity = prompt_length() + plan_.max_tokens;
    KvCache cache = prompt_cache_.with_rows(at::zeros({count}, at::ScalarType::Long), capacity);
    at::Tensor logprobs = first.expand({count, first.size(1)}).contiguous();
    for (std::int64_t step = 0; step < plan_.max_tokens; ++step) {
      if (is_cancelled()) return cancelled_error();
      std::vector<std::int64_t> tokens;
      std::vector<std::int64_t> rows;
      Status status = extend(growing, logprobs, step, tokens, rows);
      if (!status || rows.empty() || step + 1 == plan_.max_tokens) return status;
      keep_rows(growing, rows);
      if (static_cast<std::int64_t>(rows.size()) < cache.batch()) {
        cache = cache.with_rows(tensor_of(rows), capacity);
      }
      const at::Tensor stream =
          decoder_forward(model_, views_, tensor_of(tokens), 1, nullptr, &cache);
      logprobs = picker_.logprobs(head_logits(model_, views_, stream));
    }
    return ok_status();
  }

  /// Draws the next token of each sequence. `rows` and `tokens` receive those that go on.
  Status extend(std::vector<Growing>& growing, const at::Tensor& logprobs, std::int64_t step,
                std::vector<std::int64_t>& tokens, std::vector<std::int64_t>& rows) {
    for (std::size_t row = 0; row < growing.size(); ++row) {
      Growing& one = growing[row];
      const double u = one.stream.uniform(static_cast<std::uint64_t>(step));
      std::int64_t token = -1;
      const float logprob = with_row(logprobs, static_cast<std::int64_t>(row), [&](const auto* v) {
        token = picker_.pick(v, logprobs.size(1), u);
        return token < 0 ? 0.0F : static_cast<float>(v[token]);
      });
      if (token < 0) {
        return refuse(
            "the model's output is not finite; the adapter has grown too large, sample "
            "from an earlier checkpoint");
      }
      SampledSequence& sequence = response_.sequences[one.index];
      sequence.tokens.push_back(static_cast<std::int32_t>(token));
      sequence.logprobs.push_back(logprob);
      if (plan_.stop.stops(token, model_.tokenizer(), one.tail)) {
        sequence.stop_reason = StopReason::kStop;
        continue;
      }
      tokens.push_back(token);
      rows.push_back(static_cast<std::int64_t>(row));
    }
    return ok_status();
  }

  static void keep_rows(std::vector<Growing>& growing, const std::vector<std::int64_t>& rows) {
    std::vector<Growing> kept;
    kept.reserve(rows.size());
    for (const std::int64_t row : rows) {
      kept.push_back(std::move(growing[static_cast<std::size_t>(row)]));
    }
    growing = std::move(kept);
  }

  bool is_cancelled() const {
    return cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed);
  }
  static Status cancelled_error() {
    return Error(ErrorCode::kCancelled, "sampling was cancelled before it finished");
  }

  const BaseModel& model_;
  AdapterViews views_;
  const SampleRequest& request_;
  Plan plan_;
  TokenPicker picker_;
  const std::atomic<bool>* cancelled_;
  KvCache prompt_cache_;
  SampleResponse response_;
};

}  // namespace

Result<SampleResponse> sample(const BaseModel& model, const Adapter* adapter,
                              const SampleRequest& request, const std::atomic<bool>* cancelled) {
  return guarded([&]() -> Result<SampleResponse> {
    const c10::InferenceMode inference;
    Result<Plan> plan = plan_of(request, model.config());
    if (!plan) return plan.error();
    if (adapter != nullptr) {
      const Status fits = adapter->check_fits(model);
      if (!fits) return fits.error();
    }
    return Sampling(model, adapter, request, std::move(*plan), cancelled).run();
  });
}

}  // namespace tinkex::torch_ext::local
