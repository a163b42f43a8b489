#include "torch_ext/local/scorer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "torch_ext/local/sequence_loss.h"

namespace tinkex::torch_ext::local {
namespace {

double value_at(const LogprobChunk& chunk, std::size_t row, std::int64_t token) {
  const std::int64_t index = static_cast<std::int64_t>(row) * chunk.logprobs.size(1) + token;
  return chunk.logprobs.scalar_type() == at::ScalarType::Double
             ? chunk.logprobs.const_data_ptr<double>()[index]
             : static_cast<double>(chunk.logprobs.const_data_ptr<float>()[index]);
}

}  // namespace

ScoredBatch::ScoredBatch(std::span<const PreparedDatum> data) : losses(data.size()) {
  for (const PreparedDatum& datum : data) logprobs.emplace_back(datum.targets.size());
}

Result<LogprobGradient> Scorer::score(const LogprobChunk& chunk) {
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
    if (spec_.whole_sequence()) {
      gradient_of_row(rows[i], i, any);
      continue;
    }
    const Status status = score_row(rows[i], chunk, i, columns, any);
    if (!status) return status.error();
  }
  if (!any) return LogprobGradient{};
  return LogprobGradient{targets_.data(), gradients_.data(), static_cast<std::int64_t>(columns)};
}

void Scorer::read(const LogprobChunk& chunk) {
  for (std::int64_t row = 0; row < chunk.count; ++row) {
    const RowRef& ref = rows_[static_cast<std::size_t>(chunk.first + row)];
    const PreparedDatum& datum = data_[ref.datum];
    const double p = value_at(chunk, static_cast<std::size_t>(row), datum.targets[ref.position]);
    std::vector<double>& logprobs = sequences_[ref.datum];
    logprobs.resize(datum.tokens.size());
    logprobs[ref.position] = p;
    out_.logprobs[ref.datum][ref.position] = static_cast<float>(p);
  }
}

Status Scorer::score_sequences(std::span<const std::size_t> datums) {
  for (const std::size_t index : datums) {
    std::vector<double>& logprobs = sequences_[index];
    SequenceLoss scored = gspo_loss(spec_, data_[index], logprobs);
    double all = scored.loss;
    for (const double gradient : scored.gradient) all += gradient;
    if (!std::isfinite(all)) {
      return not_finite({index, 0, 0}, logprobs.front(), data_[index].inputs(spec_, 0, 0));
    }
    out_.losses[index] = scored.loss;
    logprobs = std::move(scored.gradient);
  }
  return ok_status();
}

void Scorer::gradient_of_row(const RowRef& ref, std::size_t row, bool& any) {
  targets_[row] = data_[ref.datum].targets[ref.position];
  gradients_[row] = sequences_[ref.datum][ref.position];
  any = any || gradients_[row] != 0;
}

Status Scorer::score_row(const RowRef& ref, const LogprobChunk& chunk, std::size_t row,
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
    out_.logprobs[ref.datum][index] = static_cast<float>(p);
    out_.losses[ref.datum] += loss.loss;
    targets_[row * columns + k] = datum.targets[index];
    gradients_[row * columns + k] = loss.gradient;
    any = any || loss.gradient != 0;
  }
  return ok_status();
}

Error Scorer::not_finite(const RowRef& ref, double p, const TokenInputs& inputs) const {
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
                          "learning rate; or, of a fresh adapter, the base model's files hold "
                          "numbers that are not finite")
      .with_category(ErrorCategory::kUser);
}

}  // namespace tinkex::torch_ext::local
