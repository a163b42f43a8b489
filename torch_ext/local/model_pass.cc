#include "torch_ext/local/model_pass.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "torch_ext/local/decoder.h"
#include "torch_ext/local/head.h"
#include "torch_ext/local/kernels.h"
#include "torch_ext/local/micro_batch.h"
#include "torch_ext/local/thread_limit.h"

namespace tinkex::torch_ext::local {
namespace {

/// One position of the batch, as a row of the micro-batch.
struct RowRef {
  std::size_t datum;
  std::size_t position;
  std::int64_t row;
};

/// Turns log-probabilities into losses and gradients, and keeps the outputs.
class Scorer {
 public:
  Scorer(const LossSpec& spec, std::span<const PreparedDatum> data) : spec_(spec), data_(data) {
    losses_.resize(data.size());
    for (const PreparedDatum& datum : data) logprobs_.emplace_back(datum.targets.size());
  }

  void begin(std::span<const RowRef> rows) { rows_ = rows; }

  Result<LogprobGradient> score(const LogprobChunk& chunk) {
    const auto rows =
        rows_.subspan(static_cast<std::size_t>(chunk.first), static_cast<std::size_t>(chunk.count));
    std::size_t columns = 1;
    for (const RowRef& ref : rows) {
      columns = std::max(columns, static_cast<std::size_t>(data_[ref.datum].columns));
    }
    targets_.assign(rows.size() * columns, 0);
    gradients_.assign(rows.size() * columns, 0.0);
    bool any = false;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Status status = score_row(rows[i], chunk, i, columns, any);
      if (!status) return status.error();
    }
    if (!any) return LogprobGradient{};
    return LogprobGradient{targets_.data(), gradients_.data(), static_cast<std::int64_t>(columns)};
  }

  PassOutput finish() {
    PassOutput output;
    for (const double loss : losses_) output.loss += loss;
    output.logprobs = std::move(logprobs_);
    return output;
  }

 private:
  static double value_at(const LogprobChunk& chunk, std::size_t row, std::int64_t token) {
    const std::int64_t index = static_cast<std::int64_t>(row) * chunk.logprobs.size(1) + token;
    return chunk.logprobs.scalar_type() == at::ScalarType::Double
               ? chunk.logprobs.const_data_ptr<double>()[index]
               : static_cast<double>(chunk.logprobs.const_data_ptr<float>()[index]);
  }

  Status score_row(const RowRef& ref, const LogprobChunk& chunk, std::size_t row,
                   std::size_t columns, bool& any) {
    const PreparedDatum& datum = data_[ref.datum];
    for (std::size_t k = 0; k < static_cast<std::size_t>(datum.columns); ++k) {
      const std::size_t index = ref.position * static_cast<std::size_t>(datum.columns) + k;
      const double p = value_at(chunk, row, datum.targets[index]);
      const TokenInputs inputs = datum.inputs(spec_, ref.position, k);
      const TokenLoss loss = token_loss(spec_.kind, spec_.beta, p, inputs);
      if (!std::isfinite(loss.loss) || !std::isfinite(loss.gradient)) {
        return not_finite(ref, p, inputs);
      }
      logprobs_[ref.datum][index] = static_cast<float>(p);
      losses_[ref.datum] += loss.loss;
      targets_[row * columns + k] = datum.targets[index];
      gradients_[row * columns + k] = loss.gradient;
      any = any || loss.gradient != 0;
    }
    return ok_status();
  }

  Error not_finite(const RowRef& ref, double p, const TokenInputs& inputs) const {
    const std::string where =
        "datum " + std::to_string(ref.datum) + ", position " + std::to_string(ref.position) + ": ";
    if (std::isfinite(p) && spec_.uses_sampled_logprobs()) {
      return invalid_argument(where + "the model gives the target the log-probability " +
                              std::to_string(p) + ", but `logprobs` says " +
                              std::to_string(inputs.sampled_logprob) +
                              "; their ratio overflows. Check that `logprobs` belong to these "
                              "tokens and come from a recent version of this model")
          .with_category(ErrorCategory::kUser);
    }
    return invalid_argument(where +
                            "the loss is not finite; the weights of the adapter have grown "
                            "too large, load an earlier checkpoint and train with a lower "
                            "learning rate")
        .with_category(ErrorCategory::kUser);
  }

  const LossSpec& spec_;
  std::span<const PreparedDatum> data_;
  std::span<const RowRef> rows_;
  std::vector<double> losses_;
  std::vector<std::vector<float>> logprobs_;
  std::vector<std::int64_t> targets_;
  std::vector<double> gradients_;
};

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
      const bool zero = spec.zero_without_coefficient() && !datum.has_coefficient(position);
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

/// Runs micro-batches one after the other and adds up their gradients.
class Pass {
 public:
  Pass(const BaseModel& model, const Adapter& adapter, const LossSpec& spec,
       std::span<const PreparedDatum> data, bool with_gradient)
      : model_(model),
        spec_(spec),
        data_(data),
        scorer_(spec, data),
        views_(views(adapter.layout(), adapter.flat())) {
    if (!with_gradient) return;
    gradient_ = at::zeros(adapter.flat().sizes(), adapter.flat().options());
    gradient_views_ = views(adapter.layout(), gradient_);
  }

  Status run(const MicroBatch& batch) {
    const ThreadLimit threads(model_.config(),
                              static_cast<std::int64_t>(batch.datums.size()) * batch.length);
    DecoderRecord record;
    const bool backward = gradient_.defined();
    const at::Tensor stream = decoder_forward(model_, views_, padded_tokens(batch, data_),
                                              batch.length, backward ? &record : nullptr, nullptr);
    const std::vector<RowRef> refs = rows_of(batch, data_, spec_);
    scorer_.begin(refs);
    const at::Tensor indices = row_indices(refs);
    const at::Tensor rows = at::index_select(stream, 0, indices);
    if (!backward) {
      return head_logprobs(model_, views_, rows, [this](const LogprobChunk& chunk) -> Status {
        const Result<LogprobGradient> scored = scorer_.score(chunk);
        return scored ? ok_status() : Status(scored.error());
      });
    }
    const Result<at::Tensor> d_rows = head_backward(
        model_, views_, rows, [this](const LogprobChunk& chunk) { return scorer_.score(chunk); },
        gradient_views_);
    if (!d_rows) return d_rows.error();
    if (trains_layers()) {
      at::Tensor d_stream = at::zeros(stream.sizes(), stream.options());
      d_stream.index_copy_(0, indices, *d_rows);
      decoder_backward(model_, views_, record, batch.length, std::move(d_stream), gradient_views_);
    }
    return check_gradient(batch);
  }

  PassOutput finish() {
    PassOutput output = scorer_.finish();
    output.gradient = gradient_;
    return output;
  }

 private:
  AdapterViews views(const LoraLayout& layout, const at::Tensor& flat) const {
    return AdapterViews::of(&layout, flat, model_.config().num_hidden_layers);
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
  const LossSpec& spec_;
  std::span<const PreparedDatum> data_;
  Scorer scorer_;
  AdapterViews views_;
  at::Tensor gradient_;
  AdapterViews gradient_views_;
};

}  // namespace

Result<PassOutput> run_pass(const BaseModel& model, const Adapter& adapter, const LossSpec& spec,
                            std::span<const PreparedDatum> data, bool with_gradient,
                            std::int64_t token_budget) {
  std::vector<std::int64_t> lengths;
  for (const PreparedDatum& datum : data) lengths.push_back(datum.length());
  Pass pass(model, adapter, spec, data, with_gradient);
  for (const MicroBatch& batch : plan_micro_batches(lengths, token_budget)) {
    const Status status = pass.run(batch);
    if (!status) return status.error();
  }
  return pass.finish();
}

}  // namespace tinkex::torch_ext::local
