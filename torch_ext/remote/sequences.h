#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "tinkex/outputs.h"
#include "tinkex/tensor_data.h"

namespace tinkex::torch_ext::remote {

/// Token sequences with their targets, and where the log-probability of each target lies in the
/// tensor that the caller gets. The ids are copied, once, into memory that all Datums share:
/// nothing of the caller's tensors is kept, so they may change between the forward and the backward
/// pass, and no thread of ours drops a tensor that Python has seen. Immutable once made;
/// thread-safe.
class Sequences {
 public:
  /// `tokens[i]` (N_i) integers, `targets[i]` (N_i) or (N_i, K) integers. The results are flat: all
  /// of sequence 0, then all of sequence 1, ...
  ///
  /// Errors: kInvalidArgument naming argument and index, for an empty batch, lists of different
  /// lengths, another rank or dtype, a tensor without data, what is no token id, targets that do
  /// not fit the tokens.
  static Result<Sequences> from_lists(const std::vector<at::Tensor>& tokens,
                                      const std::vector<at::Tensor>& targets);

  /// `tokens` (B, T), `targets` (B, T) or (B, T, K), padded at the end: of each row, positions
  /// behind the last one with a target that counts are not sent. The results have the shape of
  /// `targets`. A row without any such target is left out.
  static Result<Sequences> from_padded(const at::Tensor& tokens, const at::Tensor& targets);

  /// What is sent to learn the log-probabilities. Never empty.
  const std::vector<Datum>& data() const { return data_; }

  /// An error of the server's, which numbers the data, with what tells the caller which of its rows
  /// is meant.
  Error in_the_callers_terms(const Error& error) const;

  /// The shape of the tensor that the caller gets.
  const std::vector<std::int64_t>& result_shape() const { return result_shape_; }

  /// The log-probabilities in the tensor that the caller gets, float32 on the CPU.
  /// Errors: kDecode if the reply lacks some, or has others than were asked for.
  Result<at::Tensor> logprobs(const ForwardBackwardOutput& output) const;

  /// The data with `weights`, by which cross-entropy has the given gradient with respect to the
  /// log-probabilities, a tensor of the shape that logprobs() gives. Appends to `out`. The Datums
  /// share memory with this object and with `keep`, to which tensors are added.
  /// Errors: kInvalidArgument if the gradient is not finite, naming the sequence.
  Status append_weighted(const at::Tensor& gradient, std::vector<Datum>& out,
                         std::vector<at::Tensor>& keep) const;

 private:
  Sequences() = default;

  /// Results [begin, end).
  struct Run {
    std::size_t begin;
    std::size_t end;
  };

  /// Puts an id wherever a target does not count, and notes the place of its result. `offset` is
  /// where the results of these targets begin.
  void take_out_ignored(std::span<std::int64_t> targets, std::size_t offset);

  /// `row` numbers the sequence for errors.
  void add(TensorData tokens, TensorData targets, std::size_t offset, std::size_t row);

  std::vector<Datum> data_;
  std::vector<std::size_t> rows_;     ///< Which sequence of the caller's a datum is.
  std::vector<std::size_t> offsets_;  ///< Where the results of a datum begin.
  std::vector<Run> ignored_;          ///< Of what does not count, or was not sent.
  std::vector<std::int64_t> result_shape_;
};

}  // namespace tinkex::torch_ext::remote
