#pragma once

#include <filesystem>
#include <string_view>

#include "tinkex/error.h"
#include "torch_ext/local/backend_options.h"

namespace tinkex::torch_ext {

/// Writes a model with a trained adapter in it to the new folder `out`, as Hugging Face's
/// transformers, or the embedded backend, loads it: config.json, model.safetensors with
/// W + alpha / rank * B A in place of each weight W that is adapted, and the tokenizer.
///
/// `base_model` is the folder or GGUF file that BackendOptions::base_models had, and `checkpoint`
/// the folder of a checkpoint of the embedded backend, see checkpoint_folder(). The sums are
/// computed in float32 and written as `weight_type`. Of a folder, config.json is changed only in
/// the type of its weights and, where an unembedding was adapted that is the embedding, in
/// tie_word_embeddings; generation_config.json and the tokenizer's files are copied. Of a GGUF
/// file, config.json, tokenizer.json and tokenizer_config.json are made from its metadata.
///
/// Weights go from file to file: no more than a layer, or the largest tensor twice, is held. The
/// folder appears when it is whole, and is on the disk then. Blocks; computes on this thread and
/// LibTorch's.
///
/// Errors name the file and the tensor or field. kIo: `out` exists already, or a file cannot be
/// read, is damaged, is not supported or cannot be written. kInvalidArgument: the checkpoint
/// belongs to another model. kInternal: memory ran out. On failure nothing is left behind.
Status merge_adapter(const std::filesystem::path& base_model,
                     const std::filesystem::path& checkpoint, const std::filesystem::path& out,
                     local::WeightType weight_type = local::WeightType::kFloat32);

/// Whether a folder of that name, beside an `out`, is what merge_adapter() writes until it is
/// whole: one that is not being written was left by a process that was killed, and may be removed.
bool is_unfinished_merge(std::string_view name);

}  // namespace tinkex::torch_ext
