#pragma once

// The checks that every call makes before a byte is sent, for use ahead of the calls: when a batch
// is made, in a test of a data pipeline, in a tool. Each reports everything that is wrong at once.
//
// Cost. One pass over the elements, at about the speed of memory; nothing is copied.
// Threads. Every function may be called from any thread.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/error.h"
#include "tinkex/options.h"
#include "tinkex/params.h"

namespace tinkex {

/// One thing that is wrong with an input. All texts are printable, and in one line.
struct Problem {
  std::optional<std::size_t> datum;  ///< Index in the batch; absent outside a batch.
  std::string field;     ///< `target_tokens`, `model_input chunk 1`, `loss_fn_config 'beta'`.
  std::string expected;  ///< "token ids in [0, 2147483648)".
  std::string actual;    ///< "-7 at position 1".
  std::string remedy;

  friend bool operator==(const Problem&, const Problem&) = default;
};

/// "datum 3, weights: expected X, got Y; remedy".
std::string to_string(const Problem& problem);

/// What a check found.
struct ProblemList {
  std::vector<Problem> problems;  ///< The first ones, at most ValidationOptions::max_problems.
  std::size_t count = 0;          ///< Of all problems.

  bool empty() const noexcept { return count == 0; }
  /// Success, or one kInvalidArgument that tells `problems` and how many more there are.
  Status status() const;
};

/// What the caller knows that tinkex does not.
struct ValidationOptions {
  /// Number of tokens of the model. Token ids, of prompts and of targets, must be below it.
  std::optional<std::int64_t> vocabulary_size = std::nullopt;
  /// The encoding that the batch will travel in. Protobuf has no form for an
  /// ImageAssetPointerChunk. Absent: either.
  std::optional<WireFormat> wire_format = std::nullopt;
  /// Most problems to describe; the others are counted.
  std::size_t max_problems = 10;
};

/// Checks a batch for forward or forward_backward: that it is not empty; every prompt (not empty,
/// tokens 1-D integers in range, images with data of a known format); that every input can be read,
/// has a valid name and is there once; that `target_tokens` are integers.
///
/// For the API's own losses also: the inputs that the loss needs and no others; targets in range,
/// one row per prompt token where the length is known; all inputs of the shape of `target_tokens`
/// and finite; the settings in `config` known, of the right type and in range. Inputs and settings
/// of other losses pass: only the server knows them.
ProblemList find_problems(std::span<const Datum> data, std::string_view loss_fn,
                          const LossConfig& config = {}, const ValidationOptions& options = {});

/// find_problems(...).status().
Status validate(std::span<const Datum> data, std::string_view loss_fn,
                const LossConfig& config = {}, const ValidationOptions& options = {});

/// The same for forward_backward_custom: `target_tokens` and, if they are there, `weights`, both
/// dense, and any other inputs, which are the loss function's own.
ProblemList find_custom_loss_problems(std::span<const Datum> data,
                                      const ValidationOptions& options = {});

/// Checks what is given to SamplingClient::sample.
ProblemList find_problems(const ModelInput& prompt, std::int64_t num_samples,
                          const SamplingParams& params, const SampleOptions& sample_options = {},
                          const ValidationOptions& options = {});

/// Learning rate, weight decay and clip norm finite and not negative, betas in [0, 1), eps
/// positive.
Status validate(const AdamParams& params);

/// Rank in [1, 2^31), a seed, if there is one, of at least 0, and at least one part to train.
Status validate(const LoraConfig& config);

/// num_samples, max_tokens, temperature, top_k, top_p and stop, each in its range.
Status validate(const SamplingParams& params, std::int64_t num_samples = 1);

/// topk_prompt_logprobs in [0, 2^20].
Status validate(const SampleOptions& options);

/// What a checkpoint can be used for; its path says which it is.
enum class CheckpointKind {
  kTraining,  ///< `tinker://<run>/weights/<name>`: weights and optimizer, from save_state.
  kSampler,   ///< `tinker://<run>/sampler_weights/<name>`, from save_weights_for_sampler.
};

/// A model's name as get_supported_models lists it, or a path where a server takes one: printable
/// UTF-8, at most 4,096 bytes.
Status validate_base_model(std::string_view name);

/// What create_sampling_client takes as model_path: any `tinker://` path but that of a training
/// checkpoint. Servers differ in what follows the run's id.
Status validate_model_path(std::string_view path);

/// A name to save under: `[A-Za-z0-9_.-]`, 1 to 128 characters, the first not a dot.
Status validate_checkpoint_name(std::string_view name);

/// The path of a checkpoint of that kind, or `tinker://<run>/checkpoints/<name>`, as one server
/// calls training checkpoints. The run's id may contain colons; neither it nor the name may be `.`
/// or `..`. All of it is printable UTF-8, at most 4,096 bytes.
Status validate_checkpoint_path(std::string_view path, CheckpointKind kind);

/// The path of a checkpoint of either kind, as delete_checkpoint takes it; also
/// `tinker://<run>/<name>`, as one server calls samplers.
Status validate_checkpoint_path(std::string_view path);

}  // namespace tinkex
