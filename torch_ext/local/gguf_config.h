#pragma once

#include "tinkex/error.h"
#include "torch_ext/local/config.h"
#include "torch_ext/local/gguf.h"

namespace tinkex::torch_ext::local {

/// The shape of the model in a GGUF file, of architecture llama, qwen2 or qwen3. Its name is the
/// file's, without the last extension; its vocabulary is as large as its embedding matrix. Other
/// architectures, rotary positions that are scaled neither linearly nor by divisors in the file, a
/// part of a split model and sizes that no model can have are refused by name. Errors are kIo and
/// name the file.
Result<ModelConfig> gguf_config(const GgufFile& file);

}  // namespace tinkex::torch_ext::local
