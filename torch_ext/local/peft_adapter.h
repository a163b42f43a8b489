#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "tinkex/error.h"
#include "torch_ext/local/adapter.h"
#include "torch_ext/local/base_model.h"

namespace tinkex::torch_ext::local {

/// What the adapter_config.json of a folder that PEFT wrote tells.
struct PeftConfig {
  std::string base_model;  ///< As it was called or found there; may be empty.
  std::int64_t rank = 0;
};

/// Refuses what the engine does not compute: another kind of adapter or alpha than its own, ranks
/// or alphas of single modules, biases, layers trained in full, and every setting that is not known
/// to be harmless. Errors are kIo and name the file and the field.
Result<PeftConfig> read_peft_config(const std::filesystem::path& folder);

/// The adapter in a folder's adapter_model.safetensors, for `model`. Which parts it trains is told
/// by its tensors: each of attention, MLP and unembedding is adapted as a whole in every layer, or
/// not at all. Tensors that repeat the embeddings of the base, as PEFT writes them beside an
/// adapter of lm_head, must be equal to the model's.
///
/// Errors name the file and every tensor that is missing, misshapen or unknown. kIo, or
/// kInvalidArgument for a rank that the model cannot have.
Result<std::shared_ptr<const Adapter>> read_peft_adapter(const std::filesystem::path& folder,
                                                         const PeftConfig& config,
                                                         const BaseModel& model);

}  // namespace tinkex::torch_ext::local
