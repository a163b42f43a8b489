#pragma once

// A checkpoint is a directory that Hugging Face PEFT can load:
//   adapter_model.safetensors, adapter_config.json   the adapter
//   optimizer.safetensors                            moments and step count (training only)
//   metadata.json                                    what it belongs to, size and digest of each
//   file checkpoint_complete                              empty; marks a whole download
// It is written to a temporary sibling, made durable with fsync, and renamed into place: under its
// name there is a whole checkpoint or none.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "tinkex/error.h"
#include "torch_ext/local/adapter.h"
#include "torch_ext/local/base_model.h"
#include "torch_ext/local/config.h"
#include "torch_ext/local/safetensors.h"

namespace tinkex::torch_ext::local {

/// Names of the two files that PEFT reads.
inline constexpr char kAdapterFile[] = "adapter_model.safetensors";
inline constexpr char kAdapterConfigFile[] = "adapter_config.json";

/// AdamW's memory: one entry per parameter, in the layout of the adapter. Undefined tensors mean
/// zeros, the state before the first step.
struct OptimizerState {
  at::Tensor exp_avg;
  at::Tensor exp_avg_sq;
  std::int64_t step = 0;
};

/// What a checkpoint says about itself, without its tensors.
struct CheckpointInfo {
  std::string base_model;
  std::string base_digest;
  LoraConfig lora;
  bool has_optimizer = false;
  std::int64_t step = 0;
  std::int64_t size_bytes = 0;  ///< All files together.
};

/// Writes a checkpoint to `dir`; `optimizer` null makes one for sampling only. An existing `dir` is
/// refused unless `overwrite`, which replaces it in one step. On failure nothing is left behind and
/// the error (kIo) names the path and the cause.
Status write_checkpoint(const std::filesystem::path& dir, const BaseModel& model,
                        const Adapter& adapter, const LoraConfig& lora,
                        const OptimizerState* optimizer, bool overwrite);

Result<CheckpointInfo> read_checkpoint_info(const std::filesystem::path& dir);

/// A folder with an adapter as PEFT saves it, and no checkpoint's record of it.
enum class Unrecorded {
  kNo,        ///< It has the record, or that cannot be told, or there is no adapter.
  kForeign,   ///< PEFT saved it.
  kComplete,  ///< It is marked as a whole checkpoint: it lost the record, or a server made it.
};
Unrecorded look_for_record(const std::filesystem::path& dir);

/// The adapter of a checkpoint, of its own rank and train flags. It must belong to `model`; sizes
/// and digests of the files are verified.
Result<std::shared_ptr<const Adapter>> read_adapter(const std::filesystem::path& dir,
                                                    const BaseModel& model);

/// The same for a base model of that shape and digest.
Result<std::shared_ptr<const Adapter>> read_adapter(const std::filesystem::path& dir,
                                                    const ModelConfig& config,
                                                    const std::string& digest,
                                                    at::ScalarType dtype);

/// The file of a checkpoint's matrices, under the names that PEFT gives them. Its digest is
/// verified.
Result<SafetensorsFile> open_adapter_file(const std::filesystem::path& dir);

/// The moments of a training checkpoint, which must have the shapes of `layout`.
Result<OptimizerState> read_optimizer(const std::filesystem::path& dir, const LoraLayout& layout,
                                      at::ScalarType dtype);

}  // namespace tinkex::torch_ext::local
