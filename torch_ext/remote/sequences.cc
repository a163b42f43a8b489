#include "torch_ext/remote/sequences.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tinkex/base/shape.h"
#include "tinkex/base/token_id.h"
#include "torch_ext/datum_convert.h"
#include "torch_ext/host_copies.h"

namespace tinkex::torch_ext::remote {
namespace {

using internal::is_token_id;
using internal::shape_text;

/// Token ids as a copy, with the shape of the tensor that they are from.
struct Ids {
  std::shared_ptr<const void> memory;
  std::span<std::int64_t> values;
  std::vector<std::int64_t> shape;
  bool some_ignored = false;  ///< Whether kIgnoreIndex is among them.

  /// Those from `first` on, without a copy.
  TensorData part(std::size_t first, Shape of_shape) const {
    return TensorData::share(memory, values.data() + first, DType::kInt64, of_shape);
  }
};

/// Memory for the ids of all tensors of an argument.
class Snapshot {
 public:
  explicit Snapshot(std::span<const at::Tensor> tensors) {
    std::size_t count = 0;
    for (const at::Tensor& tensor : tensors) count += count_token_ids(tensor);
    memory_ = std::make_unique_for_overwrite<std::int64_t[]>(count);
    next_ = memory_.get();
  }

  /// Of one of the tensors, each of them once.
  Result<Ids> copy(const at::Tensor& tensor, TensorName name) {
    const Status copied = copy_token_ids(tensor, name, next_);
    if (!copied) return copied.error();
    const std::span ids(next_, static_cast<std::size_t>(tensor.numel()));
    next_ += ids.size();
    return Ids{memory_, ids, tensor.sizes().vec(), false};
  }

 private:
  std::shared_ptr<std::int64_t[]> memory_;
  std::int64_t* next_ = nullptr;
};

/// Which element it is: "8", or "[1, 3]" where there are more dimensions than one.
std::string place_text(std::int64_t element, const std::vector<std::int64_t>& shape) {
  if (shape.size() < 2) return std::to_string(element);
  std::vector<std::int64_t> place(shape.size());
  for (std::size_t i = shape.size(); i-- > 0; element /= shape[i]) place[i] = element % shape[i];
  return shape_text(place);
}

Error no_token_id(TensorName name, const Ids& ids, std::size_t element) {
  return invalid_argument(
      name.text() + " has " + std::to_string(ids.values[element]) + " at element " +
      place_text(static_cast<std::int64_t>(element), ids.shape) + ", expected token ids");
}

/// That those `count` from `first` on, which will be sent, are token ids.
Status check_token_ids(TensorName name, const Ids& ids, std::size_t first, std::size_t count) {
  const auto sent = ids.values.subspan(first, count);
  std::int64_t all_bits = 0;  // of ids it is one, too: that takes no branch for each
  for (const std::int64_t id : sent) all_bits |= id;
  if (is_token_id(all_bits)) return ok_status();
  const auto bad = std::ranges::find_if_not(sent, is_token_id);
  return no_token_id(name, ids, first + static_cast<std::size_t>(bad - sent.begin()));
}

/// Ids, which may also be kIgnoreIndex.
Result<Ids> read_targets(Snapshot& snapshot, const at::Tensor& tensor, TensorName name) {
  Result<Ids> targets = snapshot.copy(tensor, name);
  if (!targets) return targets;
  std::int64_t all_bits = 0;
  std::int64_t bits_that_count = 0;
  for (const std::int64_t id : targets->values) {
    all_bits |= id;
    bits_that_count |= id == kIgnoreIndex ? 0 : id;
  }
  targets->some_ignored = !is_token_id(all_bits);
  if (is_token_id(bits_that_count)) return targets;
  const auto bad = std::ranges::find_if(
      targets->values, [](std::int64_t id) { return !is_token_id(id) && id != kIgnoreIndex; });
  const auto element = static_cast<std::size_t>(bad - targets->values.begin());
  const Error error = no_token_id(name, *targets, element);
  return invalid_argument(error.message() + ", or " + std::to_string(kIgnoreIndex) +
                          " where a position does not count");
}

Error wrong_shape(TensorName name, const Ids& ids, std::string_view expected) {
  return invalid_argument(name.text() + " has shape " + shape_text(ids.shape) + ", expected " +
                          std::string(expected));
}

/// Whether there is a target, or a row of them, for each token.
bool fit(const Ids& targets, const Ids& tokens) {
  const std::size_t dimensions = tokens.shape.size();
  return (targets.shape.size() == dimensions || targets.shape.size() == dimensions + 1) &&
         std::equal(tokens.shape.begin(), tokens.shape.end(), targets.shape.begin());
}

/// The copies of both arguments.
struct Snapshots {
  Snapshot tokens;
  Snapshot targets;
};

/// Sequence `i` of a list, if its tensors fit each other.
Result<std::pair<Ids, Ids>> read_sequence(Snapshots& snapshots, const at::Tensor& tokens,
                                          const at::Tensor& targets, std::size_t i) {
  Result<Ids> ids = snapshots.tokens.copy(tokens, {"tokens", i});
  if (!ids) return std::move(ids).error();
  Result<Ids> wanted = read_targets(snapshots.targets, targets, {"targets", i});
  if (!wanted) return std::move(wanted).error();
  const std::size_t length = ids->values.size();
  if (ids->shape.size() != 1 || length == 0) {
    return wrong_shape({"tokens", i}, *ids, "one dimension and at least one token id");
  }
  if (Status checked = check_token_ids({"tokens", i}, *ids, 0, length); !checked) {
    return std::move(checked).error();
  }
  if (!fit(*wanted, *ids) || wanted->values.empty()) {
    const std::string text = std::to_string(length);
    return wrong_shape({"targets", i}, *wanted,
                       "[" + text + "] or [" + text + ", K], a target after each token");
  }
  return std::pair(*std::move(ids), *std::move(wanted));
}

/// The padded batch, if its tensors fit each other.
Result<std::pair<Ids, Ids>> read_padded(const at::Tensor& tokens, const at::Tensor& targets) {
  HostCopies copies;
  const at::Tensor tokens_on_host = copies.start(tokens);
  const at::Tensor targets_on_host = copies.start(targets);
  copies.finish();
  Snapshot token_ids(std::span(&tokens_on_host, 1));
  Snapshot target_ids(std::span(&targets_on_host, 1));
  Result<Ids> ids = token_ids.copy(tokens_on_host, "tokens");
  if (!ids) return std::move(ids).error();
  Result<Ids> wanted = read_targets(target_ids, targets_on_host, "targets");
  if (!wanted) return std::move(wanted).error();
  if (ids->shape.size() == 1) {
    return wrong_shape("tokens", *ids,
                       "[batch, length]; of a single sequence take unsqueeze(0) of tokens and "
                       "targets, or give lists of sequences");
  }
  if (ids->shape.size() != 2 || ids->values.empty()) {
    return wrong_shape("tokens", *ids, "[batch, length], neither of them 0");
  }
  if (!fit(*wanted, *ids) || wanted->values.empty()) {
    return wrong_shape("targets", *wanted,
                       "the shape of tokens, " + shape_text(ids->shape) +
                           ", or K targets for each of its positions");
  }
  return std::pair(*std::move(ids), *std::move(wanted));
}

/// How many tokens of a row are sent: those up to the last with a target that counts.
std::size_t tokens_sent(std::span<const std::int64_t> targets, std::size_t per_token) {
  std::size_t end = targets.size();
  while (end > 0 && targets[end - 1] == kIgnoreIndex) --end;
  return (end + per_token - 1) / per_token;
}

}  // namespace

void Sequences::take_out_ignored(std::span<std::int64_t> targets, std::size_t offset) {
  const auto begin = targets.begin();
  auto at = std::find(begin, targets.end(), kIgnoreIndex);
  while (at != targets.end()) {
    const auto counts = [](std::int64_t id) { return id != kIgnoreIndex; };
    const auto end = std::find_if(at, targets.end(), counts);
    std::fill(at, end, 0);  // the API wants a token everywhere
    ignored_.push_back({offset + static_cast<std::size_t>(at - begin),
                        offset + static_cast<std::size_t>(end - begin)});
    at = std::find(end, targets.end(), kIgnoreIndex);
  }
}

void Sequences::add(TensorData tokens, TensorData targets, std::size_t offset, std::size_t row) {
  Datum datum;
  datum.model_input = ModelInput::from_tokens(std::move(tokens));
  datum.loss_fn_inputs.emplace_back("target_tokens", std::move(targets));
  data_.push_back(std::move(datum));
  rows_.push_back(row);
  offsets_.push_back(offset);
}

Result<Sequences> Sequences::from_lists(const std::vector<at::Tensor>& tokens,
                                        const std::vector<at::Tensor>& targets) {
  if (tokens.empty()) {
    return invalid_argument("tokens is empty, expected at least one sequence of token ids");
  }
  if (tokens.size() != targets.size()) {
    return invalid_argument("tokens has " + std::to_string(tokens.size()) +
                            " sequences but targets has " + std::to_string(targets.size()) +
                            "; give one tensor of targets per sequence");
  }
  HostCopies copies;
  const HostTensors tokens_on_host(tokens, copies);
  const HostTensors targets_on_host(targets, copies);
  copies.finish();
  Snapshots snapshots{Snapshot(tokens_on_host.get()), Snapshot(targets_on_host.get())};
  Sequences all;
  std::size_t offset = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto sequence =
        read_sequence(snapshots, tokens_on_host.get()[i], targets_on_host.get()[i], i);
    if (!sequence) return sequence.error();
    const auto& [ids, wanted] = *sequence;
    if (wanted.some_ignored) all.take_out_ignored(wanted.values, offset);
    all.add(ids.part(0, ids.shape), wanted.part(0, wanted.shape), offset, i);
    offset += wanted.values.size();
  }
  all.result_shape_ = {static_cast<std::int64_t>(offset)};
  return all;
}

Result<Sequences> Sequences::from_padded(const at::Tensor& tokens, const at::Tensor& targets) {
  const auto batch = read_padded(tokens, targets);
  if (!batch) return batch.error();
  const auto& [ids, wanted] = *batch;
  const auto rows = static_cast<std::size_t>(ids.shape[0]);
  const std::size_t row_tokens = ids.values.size() / rows;
  const std::size_t row_targets = wanted.values.size() / rows;
  const std::size_t per_token = row_targets / row_tokens;
  Sequences all;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t offset = row * row_targets;
    const std::size_t length = tokens_sent(wanted.values.subspan(offset, row_targets), per_token);
    const std::size_t sent = length * per_token;
    if (sent < row_targets) all.ignored_.push_back({offset + sent, offset + row_targets});
    if (length == 0) continue;
    if (Status checked = check_token_ids("tokens", ids, row * row_tokens, length); !checked) {
      return std::move(checked).error();
    }
    if (wanted.some_ignored) {
      all.take_out_ignored(wanted.values.subspan(offset, sent), offset);
    }
    std::vector<std::int64_t> shape(wanted.shape.begin() + 1, wanted.shape.end());
    shape.front() = static_cast<std::int64_t>(length);
    all.add(ids.part(row * row_tokens, {shape.front()}), wanted.part(offset, shape), offset, row);
  }
  if (all.data_.empty()) {
    return invalid_argument("targets holds nothing but " + std::to_string(kIgnoreIndex) +
                            ", expected a target that counts");
  }
  all.result_shape_ = wanted.shape;
  return all;
}

Error Sequences::in_the_callers_terms(const Error& error) const {
  const std::size_t rows = rows_.back() + 1;
  if (rows == rows_.size()) return error;
  std::size_t left_out = 0;
  while (rows_[left_out] == left_out) ++left_out;
  return Error(error).with_context("not counting rows without a target that counts, such as row " +
                                   std::to_string(left_out));
}

Result<at::Tensor> Sequences::logprobs(const ForwardBackwardOutput& output) const {
  if (output.loss_fn_outputs.size() != data_.size()) {
    return Error(ErrorCode::kDecode, "the server gave results of " +
                                         std::to_string(output.loss_fn_outputs.size()) +
                                         " sequences, expected " + std::to_string(data_.size()));
  }
  at::Tensor all = at::empty(result_shape_, at::kFloat);
  float* out = all.mutable_data_ptr<float>();
  for (std::size_t i = 0; i < data_.size(); ++i) {
    const TensorData* values = find(output.loss_fn_outputs[i], "logprobs");
    const std::size_t expected = data_[i].loss_fn_inputs.front().second.size();
    if (values == nullptr || values->is_sparse() || values->size() != expected) {
      return Error(ErrorCode::kDecode,
                   "the server gave " +
                       (values == nullptr ? std::string("no logprobs")
                                          : std::to_string(values->size()) + " logprobs") +
                       " for sequence " + std::to_string(rows_[i]) + ", expected " +
                       std::to_string(expected));
    }
    values->copy_to(out + offsets_[i]);
  }
  for (const Run& run : ignored_) std::fill(out + run.begin, out + run.end, 0.0F);
  return all;
}

Status Sequences::append_weighted(const at::Tensor& gradient, std::vector<Datum>& out,
                                  std::vector<at::Tensor>& keep) const {
  // gather(..., sparse_grad=true) and embeddings have gradients that are sparse.
  const bool dense = gradient.layout() == c10::kStrided;
  const at::Tensor there = dense ? gradient.detach() : gradient.detach().to_dense();
  // The weights of cross-entropy multiply -logprob.
  at::Tensor weights = there.to(at::kCPU, at::kFloat).neg().contiguous();
  float* values = weights.mutable_data_ptr<float>();
  for (const Run& run : ignored_) std::fill(values + run.begin, values + run.end, 0.0F);
  for (std::size_t i = 0; i < data_.size(); ++i) {
    Datum datum = data_[i];
    const TensorData& targets = datum.loss_fn_inputs.front().second;
    const float* first = values + offsets_[i];
    const float* bad = std::find_if_not(first, first + targets.size(),
                                        [](float value) { return std::isfinite(value); });
    if (bad != first + targets.size()) {
      return invalid_argument(
          "the gradient of the loss with respect to the log-probabilities of "
          "sequence " +
          std::to_string(rows_[i]) + " is not finite at element " + std::to_string(bad - first) +
          "; nothing was sent. Look for a division by zero, a log of zero or an "
          "exp that overflows in the loss");
    }
    datum.loss_fn_inputs.emplace_back("weights",
                                      TensorData::view(first, DType::kFloat32, targets.shape()));
    out.push_back(std::move(datum));
  }
  keep.push_back(std::move(weights));
  return ok_status();
}

}  // namespace tinkex::torch_ext::remote
