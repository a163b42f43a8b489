#pragma once

#include <string_view>

#include "tinkex/error.h"

namespace tinkex::internal {

/// What a checkpoint can be used for; its path says which it is.
enum class CheckpointKind {
  kTraining,  ///< `tinker://<run>/weights/<name>`: weights and optimizer, from save_state.
  kSampler,   ///< `tinker://<run>/sampler_weights/<name>`, from save_weights_for_sampler.
};

/// A name to save under: `[A-Za-z0-9_.-]`, 1 to 128 characters, the first not a dot.
Status validate_checkpoint_name(std::string_view name);

/// The path of a checkpoint of that kind, or `tinker://<run>/checkpoints/<name>`, as one server
/// calls training checkpoints. The run's id may contain colons.
Status validate_tinker_path(std::string_view path, CheckpointKind kind);

}  // namespace tinkex::internal
