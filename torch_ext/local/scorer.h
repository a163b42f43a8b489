#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/head.h"
#include "torch_ext/local/loss_inputs.h"
#include "torch_ext/local/losses.h"

namespace tinkex::torch_ext::local {

/// One position of the batch, as a row of a micro-batch.
struct RowRef {
  std::size_t datum;
  std::size_t position;
  std::int64_t row;
};

/// What scoring leaves behind, in the order of the datums. Scorers on several threads may share
/// one as long as they have different datums.
struct ScoredBatch {
  explicit ScoredBatch(std::span<const PreparedDatum> data);

  std::vector<double> losses;
  std::vector<std::vector<float>> logprobs;  ///< N * K per datum.
};

/// Turns log-probabilities into losses, outputs and gradients.
class Scorer {
 public:
  Scorer(const LossSpec& spec, std::span<const PreparedDatum> data, ScoredBatch& out)
      : spec_(spec), data_(data), out_(out) {}

  /// The rows that the chunks of the following calls consist of.
  void begin(std::span<const RowRef> rows) {
    rows_ = rows;
    sequences_.clear();
  }

  /// Of a loss over whole sequences: takes the log-probabilities of one chunk, and scores the
  /// datums once all of their rows were read. score() then only gives the gradients.
  void read(const LogprobChunk& chunk);
  Status score_sequences(std::span<const std::size_t> datums);

  /// Scores one chunk. The gradient refers to memory of the scorer until the next call.
  Result<LogprobGradient> score(const LogprobChunk& chunk);

 private:
  void gradient_of_row(const RowRef& ref, std::size_t row, bool& any);
  Status score_row(const RowRef& ref, const LogprobChunk& chunk, std::size_t row,
                   std::size_t columns, bool& any);
  Error not_finite(const RowRef& ref, double p, const TokenInputs& inputs) const;

  const LossSpec& spec_;
  std::span<const PreparedDatum> data_;
  ScoredBatch& out_;
  std::span<const RowRef> rows_;
  /// Per datum, while its micro-batch is computed: log-probabilities, then gradients.
  std::map<std::size_t, std::vector<double>> sequences_;
  std::vector<std::int64_t> targets_;
  std::vector<double> gradients_;
};

}  // namespace tinkex::torch_ext::local
