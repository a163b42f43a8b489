#include "torch_ext/local/head.h"

#include <ATen/ops/zeros.h>

#include <algorithm>

#include "torch_ext/local/kernels.h"
#include "torch_ext/local/row_ops.h"
#include "torch_ext/local/scratch.h"

namespace tinkex::torch_ext::local {
namespace {

/// Elements of the logits that exist at a time.
constexpr std::int64_t kChunkElements = std::int64_t{1} << 18;
/// Fewer rows would use the matrix kernels badly: of a vocabulary of 49,152 they reach 70 % of
/// their speed with 128 rows and 82 % with 256, which do not fit into the caches any more.
constexpr std::int64_t kFewestRows = 128;

/// Buffers of one pass over chunks of rows; every chunk uses the same memory.
class ChunkedHead {
 public:
  ChunkedHead(const BaseModel& model, const AdapterViews& adapter, const at::Tensor& x,
              double temperature)
      : projection_(model, adapter), x_(x), temperature_(temperature) {
    const std::int64_t vocab = model.config().vocab_size;
    chunk_rows_ = std::min(x.size(0), std::max(kFewestRows, kChunkElements / vocab));
    memory_ = scratch_empty({chunk_rows_, vocab}, x);
  }

  std::int64_t chunk_rows() const { return chunk_rows_; }

  LogprobChunk forward(std::int64_t first) {
    const std::int64_t count = std::min(chunk_rows_, x_.size(0) - first);
    at::Tensor rows = memory_.narrow(0, 0, count);
    projection_.forward(x_.narrow(0, first, count), rows);
    if (temperature_ != 1) rows.div_(temperature_);
    log_softmax_rows(rows);
    return {first, count, rows};
  }

  /// After forward of the same chunk, which is used up; adds to `dx`, the gradient of its rows.
  void backward(const LogprobChunk& chunk, const LogprobGradient& g, AdapterViews& gradient,
                at::Tensor dx) {
    at::Tensor d_logits = chunk.logprobs;
    logprobs_to_logit_gradient(d_logits, g.targets, g.values, g.columns);
    if (temperature_ != 1) d_logits.div_(temperature_);
    projection_.backward(d_logits, gradient, dx);
  }

 private:
  HeadProjection projection_;
  const at::Tensor& x_;
  const double temperature_;
  std::int64_t chunk_rows_ = 0;
  at::Tensor memory_;
};

}  // namespace

HeadProjection::HeadProjection(const BaseModel& model, const AdapterViews& adapter)
    : model_(model), adapter_(adapter) {}

void HeadProjection::forward(const at::Tensor& x, at::Tensor& logits) {
  rows_ = x;
  normed_ = rms_norm(rows_, model_.final_norm(), model_.config().rms_norm_eps, &inverse_);
  linear_out(logits, normed_, model_.unembed(), adapter_.unembed, &low_rank_);
}

void HeadProjection::backward(const at::Tensor& d_logits, AdapterViews& gradient, at::Tensor& dx) {
  const at::Tensor d_normed = linear_backward(d_logits, normed_, low_rank_, model_.unembed(),
                                              adapter_.unembed, gradient.unembed, true);
  add_rms_norm_backward(d_normed, rows_, model_.final_norm(), inverse_, dx);
}

at::Tensor head_logits(const BaseModel& model, const AdapterViews& adapter, const at::Tensor& x) {
  const at::Tensor normed = rms_norm(x, model.final_norm(), model.config().rms_norm_eps, nullptr);
  at::Tensor logits = at::zeros({x.size(0), model.config().vocab_size}, x.options());
  add_row_linear(logits, normed, model.unembed(), adapter.unembed);
  return logits;
}

Status head_logprobs(const BaseModel& model, const AdapterViews& adapter, const at::Tensor& x,
                     double temperature, const std::function<Status(const LogprobChunk&)>& visit) {
  ChunkedHead head(model, adapter, x, temperature);
  for (std::int64_t first = 0; first < x.size(0); first += head.chunk_rows()) {
    Status status = visit(head.forward(first));
    if (!status) return status;
  }
  return ok_status();
}

Result<at::Tensor> head_backward(
    const BaseModel& model, const AdapterViews& adapter, const at::Tensor& x, double temperature,
    const std::function<Result<LogprobGradient>(const LogprobChunk&)>& score,
    AdapterViews& gradient) {
  ChunkedHead head(model, adapter, x, temperature);
  at::Tensor dx = scratch_zeros(x.sizes(), x);
  for (std::int64_t first = 0; first < x.size(0); first += head.chunk_rows()) {
    const LogprobChunk chunk = head.forward(first);
    const Result<LogprobGradient> g = score(chunk);
    if (!g) return g.error();
    if (g->targets != nullptr) head.backward(chunk, *g, gradient, dx.narrow(0, first, chunk.count));
  }
  return dx;
}

}  // namespace tinkex::torch_ext::local
