#include "torch_ext/local/model_pass.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "torch_ext/local/decoder.h"
#include "torch_ext/local/head.h"
#include "torch_ext/local/kernels.h"
#include "torch_ext/local/lanes.h"
#include "torch_ext/local/micro_batch.h"
#include "torch_ext/local/own_loss.h"
#include "torch_ext/local/scorer.h"
#include "torch_ext/local/scratch.h"
#include "torch_ext/local/thread_limit.h"

namespace tinkex::torch_ext::local {
namespace {

at::Tensor padded_tokens(const MicroBatch& batch, std::span<const PreparedDatum> data) {
  const auto rows = static_cast<std::int64_t>(batch.datums.size());
  at::Tensor tokens = at::zeros({rows * batch.length}, at::ScalarType::Long);
  std::int64_t* out = tokens.mutable_data_ptr<std::int64_t>();
  for (const std::size_t datum : batch.datums) {
    std::copy(data[datum].tokens.begin(), data[datum].tokens.end(), out);
    out += batch.length;
  }
  return tokens;
}

/// All positions that are not padding. Those that can have a gradient come first, so that the
/// output projection's backward pass skips the rest.
std::vector<RowRef> rows_of(const MicroBatch& batch, std::span<const PreparedDatum> data,
                            const LossSpec& spec) {
  std::vector<RowRef> active;
  std::vector<RowRef> idle;
  for (std::size_t i = 0; i < batch.datums.size(); ++i) {
    const PreparedDatum& datum = data[batch.datums[i]];
    for (std::size_t position = 0; position < datum.tokens.size(); ++position) {
      const bool zero = !datum.may_have_gradient(spec, position);
      const std::int64_t row =
          static_cast<std::int64_t>(i) * batch.length + static_cast<std::int64_t>(position);
      (zero ? idle : active).push_back({batch.datums[i], position, row});
    }
  }
  active.insert(active.end(), idle.begin(), idle.end());
  return active;
}

at::Tensor row_indices(std::span<const RowRef> rows) {
  at::Tensor indices = at::empty({static_cast<std::int64_t>(rows.size())}, at::ScalarType::Long);
  std::int64_t* out = indices.mutable_data_ptr<std::int64_t>();
  for (const RowRef& ref : rows) *out++ = ref.row;
  return indices;
}

std::int64_t padded_size(const MicroBatch& batch) {
  return static_cast<std::int64_t>(batch.datums.size()) * batch.length;
}

std::int64_t padded_size(std::span<const MicroBatch> batches) {
  std::int64_t size = 0;
  for (const MicroBatch& batch : batches) size += padded_size(batch);
  return size;
}

/// Into how many groups micro-batches that are computed side by side are shared out at most. Each
/// adds up a gradient of its own, and theirs are added in order: the sum does not depend on who
/// computed what.
constexpr std::size_t kGroups = 64;

/// Adds up gradients in the order of their indices, in whatever order they come. Thread-safe.
class OrderedSum {
 public:
  void add(std::size_t index, at::Tensor gradient) {
    const std::lock_guard lock(mutex_);
    early_.emplace(index, std::move(gradient));
    for (auto next = early_.find(added_); next != early_.end(); next = early_.find(++added_)) {
      if (sum_.defined()) {
        sum_.add_(next->second);
      } else {
        sum_ = std::move(next->second);
      }
      early_.erase(next);
    }
  }

  /// Once all were added.
  at::Tensor take() { return std::move(sum_); }

 private:
  std::mutex mutex_;
  std::map<std::size_t, at::Tensor> early_;
  std::size_t added_ = 0;
  at::Tensor sum_;
};

/// What a thread computes in, group after group.
class LaneScratch {
 public:
  ScratchPool& pool() { return pool_; }

  /// Blocks of smaller micro-batches fit no larger one.
  void begin(const MicroBatch& batch) {
    const std::int64_t before = std::exchange(size_, padded_size(batch));
    if (size_ > before) pool_.drop_free();
  }

 private:
  ScratchPool pool_;
  std::int64_t size_ = 0;
};

/// Runs micro-batches one after the other and adds up their gradients.
class Group {
 public:
  Group(const BaseModel& model, const Adapter& adapter, const LossSpec& spec,
        std::span<const PreparedDatum> data, bool with_gradient, const std::atomic<bool>* cancelled,
        ScoredBatch& out)
      : model_(model),
        adapter_(adapter),
        spec_(spec),
        data_(data),
        out_(out),
        scorer_(spec, data, out),
        with_gradient_(with_gradient),
        cancelled_(cancelled) {}

  /// Takes micro-batches `first`, `first + step`, ...
  Status run(std::span<const MicroBatch> batches, std::size_t first, std::size_t step,
             LaneScratch& scratch) {
    const ScratchScope scope(scratch.pool());
    views_ = views(adapter_.flat());
    if (with_gradient_) {
      gradient_ = at::zeros(adapter_.flat().sizes(), adapter_.flat().options());
      gradient_views_ = views(gradient_);
    }
    for (std::size_t i = first; i < batches.size(); i += step) {
      if (cancelled_ != nullptr && cancelled_->load(std::memory_order_relaxed)) {
        return Error(ErrorCode::kCancelled, "the batch was cancelled before it was computed");
      }
      scratch.begin(batches[i]);
      Status status = run(batches[i]);
      if (!status) return status;
    }
    return ok_status();
  }

  at::Tensor take_gradient() { return std::move(gradient_); }

 private:
  Status run(const MicroBatch& batch) {
    DecoderRecord record;
    const at::Tensor stream =
        decoder_forward(model_, views_, padded_tokens(batch, data_), batch.length,
                        with_gradient_ ? &record : nullptr, nullptr);
    if (spec_.kind == LossKind::kOwn) return run_own(batch, stream, record);
    const std::vector<RowRef> refs = rows_of(batch, data_, spec_);
    scorer_.begin(refs);
    const at::Tensor indices = row_indices(refs);
    const at::Tensor rows = at::index_select(stream, 0, indices);
    if (spec_.whole_sequence()) {
      Status read = read_sequences(batch, rows);
      if (!read || !with_gradient_) return read;
    }
    if (!with_gradient_) {
      return head_logprobs(model_, views_, rows, spec_.temperature,
                           [this](const LogprobChunk& chunk) -> Status {
                             const Result<LogprobGradient> scored = scorer_.score(chunk);
                             return scored ? ok_status() : Status(scored.error());
                           });
    }
    const Result<at::Tensor> d_rows = head_backward(
        model_, views_, rows, spec_.temperature,
        [this](const LogprobChunk& chunk) { return scorer_.score(chunk); }, gradient_views_);
    if (!d_rows) return d_rows.error();
    at::Tensor d_stream = scratch_zeros(stream.sizes(), stream);
    d_stream.index_copy_(0, indices, *d_rows);
    return backward(batch, record, std::move(d_stream));
  }

  Status backward(const MicroBatch& batch, const DecoderRecord& record, at::Tensor d_stream) {
    if (trains_layers()) {
      decoder_backward(model_, views_, record, batch.length, std::move(d_stream), gradient_views_);
    }
    return check_gradient(batch);
  }

  /// A loss over whole logits goes datum by datum, so that only one's logits exist at a time.
  Status run_own(const MicroBatch& batch, const at::Tensor& stream, const DecoderRecord& record) {
    HeadProjection head(model_, views_);
    at::Tensor d_stream;
    if (with_gradient_) d_stream = scratch_zeros(stream.sizes(), stream);
    for (std::size_t i = 0; i < batch.datums.size(); ++i) {
      const std::size_t index = batch.datums[i];
      const std::int64_t first = static_cast<std::int64_t>(i) * batch.length;
      const at::Tensor rows = stream.narrow(0, first, data_[index].length());
      at::Tensor logits = empty_logits(rows, model_.config().vocab_size);
      head.forward(rows, logits);
      read_target_logprobs(logits, data_[index], out_.logprobs[index]);
      const Result<OwnLoss> loss = own_loss(spec_, data_[index], index, logits, with_gradient_);
      if (!loss) return loss.error();
      out_.losses[index] = loss->value;
      if (!with_gradient_) continue;
      at::Tensor d_rows = d_stream.narrow(0, first, rows.size(0));
      head.backward(loss->d_logits, gradient_views_, d_rows);
    }
    return with_gradient_ ? backward(batch, record, std::move(d_stream)) : ok_status();
  }

  /// Scores losses of which a gradient needs the log-probabilities of all positions: the head is
  /// run once more for them, so that the logits never exist for all rows at once.
  Status read_sequences(const MicroBatch& batch, const at::Tensor& rows) {
    const Status read = head_logprobs(model_, views_, rows, spec_.temperature,
                                      [this](const LogprobChunk& chunk) -> Status {
                                        scorer_.read(chunk);
                                        return ok_status();
                                      });
    return read ? scorer_.score_sequences(batch.datums) : read;
  }

  AdapterViews views(const at::Tensor& flat) const {
    return AdapterViews::of(&adapter_.layout(), flat, model_.config().num_hidden_layers);
  }

  bool trains_layers() const {
    const LayerViews& layer = views_.layers.front();
    return layer.qkv.present() || layer.gate_up.present();
  }

  Status check_gradient(const MicroBatch& batch) const {
    if (std::isfinite(sum_of_squares(gradient_))) return ok_status();
    std::string names;
    for (const std::size_t datum : batch.datums) {
      names += (names.empty() ? "" : ", ") + std::to_string(datum);
    }
    return invalid_argument("the gradient is not finite; the cause is among datums " + names +
                            ". Check their weights and advantages, or load an earlier checkpoint "
                            "and train with a lower learning rate")
        .with_category(ErrorCategory::kUser);
  }

  const BaseModel& model_;
  const Adapter& adapter_;
  const LossSpec& spec_;
  std::span<const PreparedDatum> data_;
  ScoredBatch& out_;
  Scorer scorer_;
  bool with_gradient_;
  const std::atomic<bool>* cancelled_;
  AdapterViews views_;
  at::Tensor gradient_;
  AdapterViews gradient_views_;
};

std::vector<MicroBatch> cut(std::span<const PreparedDatum> data, std::int64_t token_budget) {
  std::vector<std::int64_t> lengths;
  for (const PreparedDatum& datum : data) lengths.push_back(datum.length());
  return plan_micro_batches(lengths, token_budget);
}

}  // namespace

Result<PassOutput> run_pass(const BaseModel& model, const Adapter& adapter, const LossSpec& spec,
                            std::span<const PreparedDatum> data, bool with_gradient,
                            const PassOptions& options) {
  const c10::InferenceMode inference;
  const std::int64_t wanted = options.lanes > 0 ? options.lanes : available_threads();
  const std::vector<MicroBatch> batches = cut(data, options.token_budget);
  // Large weights are read once for all threads; small ones stay in every core's cache.
  const bool several = options.lanes > 0 || (worth_lanes(model.config(), padded_size(batches)) &&
                                             !worth_threads_per_row(model.config()));
  const std::size_t groups = several ? std::min(batches.size(), kGroups) : 1;
  const std::size_t lanes = std::min(groups, static_cast<std::size_t>(wanted));
  const bool threads = worth_threads(model.config(), padded_size(batches) / std::ssize(batches));
  ScoredBatch scored(data);
  OrderedSum gradient;
  std::vector<LaneScratch> scratch(lanes);
  const Status status = run_lanes(lanes, threads, groups, [&](std::size_t i, std::size_t lane) {
    Group group(model, adapter, spec, data, with_gradient, options.cancelled, scored);
    Status done = group.run(batches, i, groups, scratch[lane]);
    if (done && with_gradient) gradient.add(i, group.take_gradient());
    return done;
  });
  if (!status) return status.error();
  PassOutput output;
  for (const double loss : scored.losses) output.loss += loss;
  output.logprobs = std::move(scored.logprobs);
  if (with_gradient) output.gradient = gradient.take();
  return output;
}

}  // namespace tinkex::torch_ext::local
