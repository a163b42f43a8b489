#include "torch_ext/data.h"

#include <ATen/ops/ones_like.h>
#include <ATen/ops/pad_sequence.h>

#include <string>
#include <utility>

#include "tinkex/base/shape.h"

namespace tinkex::torch_ext {

std::int64_t TokenBatch::token_count() const {
  std::int64_t count = 0;
  for (const at::Tensor& sequence : tokens) count += sequence.numel();
  return count;
}

NamedTensorLists TokenBatch::loss_fn_inputs() const {
  return {{"target_tokens", targets}, {"weights", weights}};
}

Result<std::vector<Datum>> TokenBatch::datums() const& {
  const NamedTensorLists inputs = loss_fn_inputs();  // The batch has their tensors, too.
  return borrow_datums(tokens, inputs);
}

TokenBatch Collate::apply_batch(std::vector<TokenExample> examples) {
  TokenBatch batch;
  double sum = 0;
  for (const TokenExample& example : examples) {
    // The shift by one: each token is the target of the one before.
    batch.tokens.push_back(example.tokens.slice(0, 0, -1));
    batch.targets.push_back(example.tokens.slice(0, 1));
    batch.weights.push_back(example.weights.slice(0, 1));
    // Negative weights must neither turn the sign of the others nor make them explode.
    sum += batch.weights.back().abs().sum(at::kDouble).item<double>();
  }
  if (reduction_ == Reduction::kSum || sum == 0) return batch;
  for (at::Tensor& weights : batch.weights) weights = weights.div(sum);
  return batch;
}

PaddedBatch pad(const TokenBatch& batch, std::int64_t padding_token) {
  std::vector<at::Tensor> present;
  for (const at::Tensor& sequence : batch.tokens) {
    present.push_back(at::ones_like(sequence, at::kBool));
  }
  const auto padding = static_cast<double>(padding_token);
  return {.tokens = at::pad_sequence(batch.tokens, /*batch_first=*/true, padding),
          .targets = at::pad_sequence(batch.targets, true, static_cast<double>(kIgnoreIndex)),
          .weights = at::pad_sequence(batch.weights, true, 0),
          .mask = at::pad_sequence(present, true, 0)};
}

Result<std::vector<at::Tensor>> unpad(const at::Tensor& padded, const at::Tensor& mask) {
  if (!mask.defined() || !padded.defined()) {
    return invalid_argument(
        std::string(mask.defined() ? "padded" : "mask") +
        " is undefined, as a default-constructed tensor is; give one with data");
  }
  if (mask.dim() != 2 || mask.scalar_type() != at::kBool) {
    return invalid_argument("mask is a tensor of " + dtype_name(mask.scalar_type()) + " " +
                            internal::shape_text(mask.sizes()) +
                            ", expected bool [B, T], such as PaddedBatch::mask");
  }
  if (padded.dim() < 2 || padded.sizes().slice(0, 2) != mask.sizes()) {
    return invalid_argument("padded has sizes " + internal::shape_text(padded.sizes()) +
                            ", expected it to begin with those of mask, " +
                            internal::shape_text(mask.sizes()));
  }
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < mask.size(0); ++i) {
    rows.push_back(padded.select(0, i).index_select(0, mask.select(0, i).nonzero().squeeze(1)));
  }
  return rows;
}

}  // namespace tinkex::torch_ext
