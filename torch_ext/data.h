#pragma once

// Data for training, in the shape of torch::data: a dataset of token sequences, and a collation
// that makes of each batch what a training client takes.
//
//   auto dataset = TokenDataset::from_jsonl("notes.jsonl", tokenizer).value();
//   SeededSampler sampler(*dataset.size(), /*seed=*/7);
//   auto loader = torch::data::make_data_loader(dataset.map(Collate()), sampler, /*batch_size=*/8);
//   for (TokenBatch& batch : *loader) {
//     auto pass = model.forward_backward(batch.datums().value(), tinkex::loss::kCrossEntropy);
//     ...
//
// Everything is in memory: 12 bytes for each token.

#include "torch_ext/torch_prelude.h"
// Behind it.
#include <ATen/core/Tensor.h>
#include <torch/data/dataloader.h>
#include <torch/data/datasets/base.h>
#include <torch/data/datasets/map.h>
#include <torch/data/transforms/collate.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "tinkex/chat_template.h"
#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "tinkex/tokenizer.h"
#include "torch_ext/datum_convert.h"
#include "torch_ext/jsonl.h"

namespace tinkex::torch_ext {

/// A sequence of a dataset, before the shift by one that makes inputs and targets of it. Views of
/// the dataset's memory: clone them before you write to them.
struct TokenExample {
  at::Tensor tokens;   ///< int64 {n}, n >= 2.
  at::Tensor weights;  ///< float32 {n}: how much each token counts in the loss, as a target.
};

/// How a file of texts becomes sequences.
struct TextOptions {
  /// Tokens of a sequence, of which the last is only predicted. What is longer is cut at its end,
  /// and what has nothing left to learn from is dropped (TokenDataset::cut, dropped). 0: no limit.
  std::size_t max_tokens = 0;
  /// For lines with "messages". Null: the tokenizer's.
  std::shared_ptr<const ChatTemplate> chat_template = {};
  JsonlOptions reading = {};
};

/// Token sequences for torch::data::DataLoader. Immutable; copies share the memory, as those do
/// that the loader's workers hold, and may be used on any threads at the same time.
class TokenDataset final : public torch::data::datasets::Dataset<TokenDataset, TokenExample> {
 public:
  /// From lists of token ids, at least two in each. `weights[i][j]` is how much `tokens[i][j]`
  /// counts; empty: each counts 1. The first token of a sequence is never predicted.
  ///
  /// Errors: kInvalidArgument naming argument and index: no sequences, one of less than two tokens,
  /// an id that is negative or beyond 2^31 - 1, weights of other lengths than the tokens, a weight
  /// that is not finite, nothing that is learned in all of them.
  static Result<TokenDataset> from_tokens(const std::vector<std::vector<std::int64_t>>& tokens,
                                          const std::vector<std::vector<float>>& weights = {});

  /// The same from 1-D tensors of any integer dtype and any device, which are copied; `weights` of
  /// any floating-point, integer or bool dtype. Errors: as above, what `borrow` refuses, and
  /// weights that require a gradient while gradients are on, for none would flow back.
  static Result<TokenDataset> from_tensors(const std::vector<at::Tensor>& tokens,
                                           const std::vector<at::Tensor>& weights = {});

  /// From a file of JSON lines (torch_ext/training_text.h tells the forms). The whole file is read
  /// and tokenized here, so that no error comes in the middle of a run. A dialogue may become
  /// several sequences.
  ///
  /// Errors: as for_each_example; a dialogue without a chat template, or that it cannot write; a
  /// file with nothing left to learn from within `max_tokens`.
  static Result<TokenDataset> from_jsonl(const std::filesystem::path& file,
                                         const Tokenizer& tokenizer,
                                         const TextOptions& options = {});

  /// Puts neighbouring sequences together, as many as fit into `max_tokens`, so that batches have
  /// fewer and fuller ones. It costs nothing: the memory is shared.
  ///
  /// What is packed together is one sequence to the model. The API has no mask between documents:
  /// later ones attend to earlier ones, and stand at later positions, which the losses show. It
  /// suits pieces of one text and short, similar texts; where each must be read by itself, do not
  /// pack. The first token of each still is no target.
  ///
  /// Errors: kInvalidArgument naming the first sequence that is longer by itself, and for 0, which
  /// is no limit in TextOptions alone.
  Result<TokenDataset> packed(std::size_t max_tokens) const;

  /// Throws tinkex::Error (kInvalidArgument) for an index that is not below size().
  TokenExample get(std::size_t index) override;
  Optional<std::size_t> size() const override;

  /// Of all sequences.
  std::int64_t token_count() const;
  /// Of the longest sequence.
  std::int64_t longest() const;
  /// How many sequences of a file were longer than TextOptions::max_tokens, and how many were left
  /// out, for there was nothing to learn from within it.
  std::size_t cut() const { return cut_; }
  std::size_t dropped() const { return dropped_; }

 private:
  class Builder;
  using Bounds = std::vector<std::int64_t>;

  TokenDataset() = default;

  at::Tensor tokens_;   ///< int64, all sequences behind one another.
  at::Tensor weights_;  ///< float32; 0 for the first of each.
  /// Sequence i is from element i to element i + 1.
  std::shared_ptr<const Bounds> bounds_;
  std::size_t cut_ = 0;
  std::size_t dropped_ = 0;
};

/// A batch as a training client takes it, one tensor of each per sequence. Position j of `tokens`
/// is read, and `targets[j]` is what should come next.
struct TokenBatch {
  std::vector<at::Tensor> tokens;   ///< int64 {n_i}.
  std::vector<at::Tensor> targets;  ///< int64 {n_i}.
  std::vector<at::Tensor> weights;  ///< float32 {n_i}, of the targets.

  std::size_t size() const { return tokens.size(); }
  /// That are read.
  std::int64_t token_count() const;
  /// The inputs of cross_entropy: "target_tokens" and "weights".
  NamedTensorLists loss_fn_inputs() const;
  /// Borrows the tensors' memory, as borrow_datums does, whose errors it has: the batch must stay
  /// until the call that takes the Datums has returned.
  Result<std::vector<Datum>> datums() const&;
  Result<std::vector<Datum>> datums() const&& = delete;  // would dangle
};

/// What the absolute values of a batch's weights sum to.
enum class Reduction {
  kMean,  ///< 1: the loss, a plain sum, becomes the mean over the trained tokens of the batch.
  kSum,   ///< As in the dataset.
};

/// Makes a batch of sequences: the shift by one, and the weights. For `dataset.map(Collate())`.
/// Copies nothing but weights. Thread-safe.
class Collate final
    : public torch::data::transforms::Collation<TokenBatch, std::vector<TokenExample>> {
 public:
  explicit Collate(Reduction reduction = Reduction::kMean) : reduction_(reduction) {}

  /// kMean leaves weights as they are that sum to 0.
  TokenBatch apply_batch(std::vector<TokenExample> examples) override;

 private:
  Reduction reduction_;
};

/// A batch as one tensor of each, {B, T} with T the longest sequence, for models of LibTorch.
struct PaddedBatch {
  at::Tensor tokens;   ///< int64; the padding token behind each sequence.
  at::Tensor targets;  ///< int64; -100 behind each sequence, which losses leave out.
  at::Tensor weights;  ///< float32; 0 behind each sequence.
  at::Tensor mask;     ///< bool; whether a position is of the sequence.
};

PaddedBatch pad(const TokenBatch& batch, std::int64_t padding_token = 0);

/// The rows of a {B, T, ...} tensor, each without its padding: B tensors {n_i, ...}. `mask` is
/// bool {B, T} and may have its padding anywhere. Differentiable.
/// Errors: kInvalidArgument for an undefined tensor, another dtype of the mask, other sizes than
/// the mask's.
Result<std::vector<at::Tensor>> unpad(const at::Tensor& padded, const at::Tensor& mask);

}  // namespace tinkex::torch_ext
