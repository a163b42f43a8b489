#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "tinkex/error.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/linear.h"

namespace tinkex::torch_ext::local {

/// Final norm and projection of rows of the residual stream, there and back. Borrows what it is
/// made from.
class HeadProjection {
 public:
  HeadProjection(const BaseModel& model, const AdapterViews& adapter);

  /// Writes the logits (n, vocab) of the rows `x` (n, d).
  void forward(const at::Tensor& x, at::Tensor& logits);
  /// Of the rows of the last forward: adds the gradients of the output adapter to `gradient` and
  /// that of the rows to `dx` (n, d).
  void backward(const at::Tensor& d_logits, AdapterViews& gradient, at::Tensor& dx);

 private:
  const BaseModel& model_;
  const AdapterViews& adapter_;
  at::Tensor rows_, normed_, inverse_, low_rank_;
};

/// Rows of log-probabilities that were computed together: `logprobs` is (count, vocab), row 0 is
/// row `first` of the input.
struct LogprobChunk {
  std::int64_t first = 0;
  std::int64_t count = 0;
  at::Tensor logprobs;
};

/// Final norm and projection of the residual stream rows `x` (n, d), which are few: logits
/// (n, vocab), the same bits for a row whatever the others are.
at::Tensor head_logits(const BaseModel& model, const AdapterViews& adapter, const at::Tensor& x);

/// Calls `visit` with the log-probabilities of all rows of `x`, whose logits are divided by
/// `temperature`, chunk by chunk, so that they never exist for all rows at once. Stops at the first
/// error.
Status head_logprobs(const BaseModel& model, const AdapterViews& adapter, const at::Tensor& x,
                     double temperature, const std::function<Status(const LogprobChunk&)>& visit);

/// What `score` in head_backward returns: the targets of the chunk's rows and the gradients of the
/// loss with respect to their log-probabilities, both (count, columns); null if all are zero.
struct LogprobGradient {
  const std::int64_t* targets = nullptr;
  const double* values = nullptr;
  std::int64_t columns = 1;
};

/// The same with a backward pass: `score` looks at each chunk and says the gradient. Adds the
/// gradients of the output adapter to `gradient` and returns that of `x` (n, d).
Result<at::Tensor> head_backward(
    const BaseModel& model, const AdapterViews& adapter, const at::Tensor& x, double temperature,
    const std::function<Result<LogprobGradient>(const LogprobChunk&)>& score,
    AdapterViews& gradient);

}  // namespace tinkex::torch_ext::local
