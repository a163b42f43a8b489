#include "torch_ext/local/sample_engine.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "torch_ext/local/decode_step.h"
#include "torch_ext/local/guard.h"
#include "torch_ext/local/lanes.h"
#include "torch_ext/local/refusal.h"
#include "torch_ext/local/thread_limit.h"

namespace tinkex::torch_ext::local {
namespace {

/// Sequences that are decoded together. More would gain little and keep new requests waiting.
constexpr std::size_t kMaxSequences = 64;
/// Memory that the keys and values of all sequences may come to need.
constexpr std::int64_t kMaxCacheBytes = std::int64_t{4} << 30;

}  // namespace

struct SampleEngine::Request {
  SampleRequest wanted;
  SamplePlan plan;
  TokenPicker picker;
  std::function<bool()> cancelled;
  Done done;
  std::shared_ptr<const KvCache> prompt = nullptr;
  at::Tensor first = {};  ///< Log-probabilities of the first new token; undefined before prefill.
  std::int64_t begun = 0;
  std::int64_t ended = 0;
  SampleResponse response = {};
};

struct SampleEngine::Sequence {
  std::shared_ptr<Request> request;
  std::size_t index;  ///< In the response.
  RandomStream stream;
  SequenceCache cache;
  std::string tail = {};
  bool ended = false;
  bool failed = false;

  SampledSequence& out() const { return request->response.sequences[index]; }
};

SampleEngine::SampleEngine(std::shared_ptr<const BaseModel> model,
                           std::shared_ptr<const Adapter> adapter)
    : model_(std::move(model)), adapter_(std::move(adapter)) {
  const c10::InferenceMode inference;
  views_ = AdapterViews::of(adapter_ ? &adapter_->layout() : nullptr,
                            adapter_ ? adapter_->flat() : at::Tensor(),
                            model_->config().num_hidden_layers);
}

SampleEngine::~SampleEngine() = default;

void SampleEngine::add(SampleRequest request, std::function<bool()> cancelled, Done done) {
  if (adapter_ != nullptr) {
    if (const Status fits = adapter_->check_fits(*model_); !fits) return done(fits.error());
  }
  Result<SamplePlan> plan = SamplePlan::of(request, model_->config());
  if (!plan) return done(plan.error());
  const TokenPicker picker(request.params);
  auto added = std::make_shared<Request>(
      Request{std::move(request), *std::move(plan), picker, std::move(cancelled), std::move(done)});
  added->response.sequences.resize(static_cast<std::size_t>(added->wanted.num_samples));
  requests_.push_back(std::move(added));
}

void SampleEngine::step() {
  const c10::InferenceMode inference;
  drop_cancelled();
  const std::shared_ptr<Request> next = next_to_begin();
  // In turns, so that neither who waits nor who decodes waits for all of the others.
  const bool decode_first = std::exchange(begun_last_, false) && !sequences_.empty();
  if (next != nullptr && !decode_first) {
    begun_last_ = true;
    const Status begun = guarded([&] { return begin(next); });
    if (!begun) settle(next, begun.error());
  } else if (!sequences_.empty()) {
    const Status decoded = guarded([&] { return decode(); });
    if (!decoded) return fail_all(decoded.error());
  }
  settle_ended();
}

void SampleEngine::fail_all(const Error& error) {
  while (!requests_.empty()) settle(requests_.front(), error);
}

void SampleEngine::drop_cancelled() {
  std::vector<std::shared_ptr<Request>> dropped;
  for (const auto& request : requests_) {
    if (request->cancelled && request->cancelled()) dropped.push_back(request);
  }
  for (const auto& request : dropped) settle(request, sample_cancelled());
}

std::shared_ptr<SampleEngine::Request> SampleEngine::next_to_begin() const {
  for (const auto& request : requests_) {
    if (request->begun == request->wanted.num_samples) continue;
    return has_room(*request) ? request : nullptr;  // Nobody overtakes.
  }
  return nullptr;
}

bool SampleEngine::has_room(const Request& request) const {
  if (sequences_.empty()) return true;
  if (sequences_.size() >= kMaxSequences) return false;
  std::int64_t positions = request.plan.max_tokens;
  if (request.prompt == nullptr) positions += request.plan.prompt_length();
  for (const Sequence& sequence : sequences_) positions += sequence.request->plan.max_tokens;
  for (const auto& read : requests_) {
    if (read->prompt != nullptr) positions += read->plan.prompt_length();
  }
  const std::int64_t each =
      SequenceCache::bytes_per_position(model_->config(), model_->compute_dtype());
  return positions <= kMaxCacheBytes / each;
}

Status SampleEngine::begin(const std::shared_ptr<Request>& request) {
  if (!request->first.defined()) {
    Result<Prefilled> read = prefill(*model_, views_, request->plan, request->wanted.options,
                                     request->cancelled, request->response);
    if (!read) return read.error();
    request->prompt = std::move(read->cache);
    request->first = request->picker.logprobs(read->logits);
  }
  while (request->begun < request->wanted.num_samples && has_room(*request)) {
    const auto index = static_cast<std::size_t>(request->begun++);
    sequences_.push_back(
        {request, index, RandomStream(request->plan.seed, index),
         SequenceCache(request->prompt, model_->config(), model_->compute_dtype())});
    draw(sequences_.back(), request->first);
  }
  return ok_status();
}

Status SampleEngine::decode() {
  const ModelConfig& config = model_->config();
  const auto count = static_cast<std::int64_t>(sequences_.size());
  // Large weights are read once for all sequences, each thread a part of them. Small ones stay in
  // every core's cache, where the sequences are better shared out. The results are the same bits.
  if (worth_threads_per_row(config)) {
    return run_lanes(1, /*threads_for_one=*/true, 1, [&](std::size_t, std::size_t) {
      return decode_rows(0, sequences_.size(), true);
    });
  }
  const std::int64_t parts =
      worth_lanes(config, count) ? std::min<std::int64_t>(available_threads(), count) : 1;
  const auto lanes = static_cast<std::size_t>(parts);
  return run_lanes(lanes, false, lanes, [&](std::size_t part, std::size_t) {
    const auto from = static_cast<std::int64_t>(part);
    return decode_rows(static_cast<std::size_t>(count * from / parts),
                       static_cast<std::size_t>(count * (from + 1) / parts), false);
  });
}

Status SampleEngine::decode_rows(std::size_t begin, std::size_t end, bool side_by_side) {
  std::vector<DecodeRow> rows;
  rows.reserve(end - begin);
  for (std::size_t i = begin; i < end; ++i) {
    Sequence& sequence = sequences_[i];
    rows.push_back({sequence.out().tokens.back(), &sequence.cache});
  }
  const at::Tensor logits = decode_step(*model_, views_, rows);
  const auto pick = [&](std::int64_t from, std::int64_t to) {
    const c10::InferenceMode inference;
    for (std::int64_t row = from; row < to; ++row) {
      Sequence& sequence = sequences_[begin + static_cast<std::size_t>(row)];
      draw(sequence, sequence.request->picker.logprobs(logits.narrow(0, row, 1)));
    }
  };
  const auto count = static_cast<std::int64_t>(rows.size());
  if (side_by_side) {
    at::parallel_for(0, count, 1, pick);
  } else {
    pick(0, count);
  }
  return ok_status();
}

void SampleEngine::draw(Sequence& sequence, const at::Tensor& logprobs) const {
  SampledSequence& out = sequence.out();
  const Request& request = *sequence.request;
  const double u = sequence.stream.uniform(out.tokens.size());
  std::int64_t token = -1;
  const float logprob = with_row(logprobs, 0, [&](const auto* values) {
    token = request.picker.pick(values, logprobs.size(1), u);
    return token < 0 ? 0.0F : static_cast<float>(values[token]);
  });
  if (token < 0) {
    sequence.failed = sequence.ended = true;
    return;
  }
  out.tokens.push_back(static_cast<std::int32_t>(token));
  out.logprobs.push_back(logprob);
  if (request.plan.stop.stops(token, model_->tokenizer(), sequence.tail)) {
    out.stop_reason = StopReason::kStop;
    sequence.ended = true;
  } else if (static_cast<std::int64_t>(out.tokens.size()) == request.plan.max_tokens) {
    sequence.ended = true;
  }
}

void SampleEngine::settle_ended() {
  std::vector<std::shared_ptr<Request>> failed;
  std::vector<std::shared_ptr<Request>> complete;
  for (const Sequence& sequence : sequences_) {
    if (!sequence.ended) continue;
    Request& request = *sequence.request;
    if (++request.ended == request.wanted.num_samples) complete.push_back(sequence.request);
    if (sequence.failed) failed.push_back(sequence.request);
  }
  std::erase_if(sequences_, [](const Sequence& sequence) { return sequence.ended; });
  for (const auto& request : failed) {
    settle(request, refuse("the model's output is not finite; the adapter has grown too large, "
                           "sample from an earlier checkpoint; or, of a fresh adapter, the base "
                           "model's files hold numbers that are not finite"));
  }
  for (const auto& request : complete) settle(request, std::move(request->response));
}

void SampleEngine::settle(const std::shared_ptr<Request>& request, Result<SampleResponse> result) {
  const auto found = std::find(requests_.begin(), requests_.end(), request);
  if (found == requests_.end()) return;  // Another of its sequences failed before.
  const std::shared_ptr<Request> settled = *found;
  requests_.erase(found);
  std::erase_if(sequences_, [&](const Sequence& each) { return each.request == settled; });
  const Done done = std::move(settled->done);
  done(std::move(result));
}

}  // namespace tinkex::torch_ext::local
