#pragma once

// Adapters between the embedded backend and other programs, by files on this machine.

#include <ATen/core/ivalue.h>  // First: see torch_prelude.h.

#include <ATen/core/Dict.h>
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "tinkex/error.h"
#include "tinkex/params.h"
#include "torch_ext/connect.h"

namespace tinkex::torch_ext {

/// A trained adapter: each module's weight W counts as W + alpha / rank * B A.
struct AdapterState {
  std::string base_model;
  LoraConfig lora;
  double alpha = 0;
  /// A, (rank, in), and B, (out, rank), float32, under the names that PEFT gives them and in the
  /// order of these: `base_model.model.model.layers.0.mlp.down_proj.lora_A.weight`. The tensors are
  /// the caller's.
  c10::Dict<std::string, at::Tensor> tensors;
};

/// The folder of the checkpoint that a `tinker://` path names, absolute if the data directory is.
/// It holds adapter_model.safetensors and adapter_config.json, which PEFT loads, and belongs to the
/// backend: read it, do not write to it. With a temporary data directory it ends with the backend.
///
/// Errors: kInvalidArgument for a path that names no checkpoint, and for a connection to a server,
/// whose checkpoints are not on this machine; kClosed if the embedded backend has ended.
Result<std::filesystem::path> checkpoint_folder(const Connection& connection,
                                                std::string_view path);

/// The adapter in the folder of a checkpoint of the embedded backend, also of one that has ended.
/// Its digest is verified. Errors are kIo and name the file; kInternal if memory runs out. What
/// PEFT has saved is refused: import_adapter() makes a checkpoint of it.
Result<AdapterState> load_adapter(const std::filesystem::path& folder);

/// Makes a checkpoint of the embedded backend from an adapter that PEFT saved (adapter_config.json
/// and adapter_model.safetensors), and gives its path, `tinker://imported/weights/NAME`, for
/// create_training_client_from_state(); the optimizer starts anew. Attention, MLP and unembedding
/// are adapted as a whole in every layer or not at all; lora_alpha is 32; a dropout is not applied.
/// `base_model` is one of the backend's models; empty: the one that the adapter names. Blocks;
/// works on this thread.
///
/// Errors name the file and the field or tensor, and nothing is written. kInvalidArgument: the name
/// is taken or none, the base model is unknown, the rank is impossible for it, or the connection is
/// one to a server. kIo: a file cannot be read, or holds what does not fit the model or is not
/// computed. kClosed if the embedded backend has ended.
Result<std::string> import_adapter(const Connection& connection,
                                   const std::filesystem::path& folder, const std::string& name,
                                   const std::string& base_model = "");

}  // namespace tinkex::torch_ext
