#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/config.h"
#include "torch_ext/local/gguf.h"

namespace tinkex::torch_ext::local {

/// One weight of a model in a GGUF file.
struct GgufWeight {
  std::string name;                    ///< As Hugging Face spells it.
  const GgufTensor* tensor = nullptr;  ///< In the table of the file, which must outlive this.
  /// Heads whose rows come in llama.cpp's order; 0 if the order is that of Hugging Face. llama.cpp
  /// rotates neighbouring rows of a head together, Hugging Face rows that lie half a head apart:
  /// row 2 j + s of a head there is row s * head_dim / 2 + j here, s being 0 or 1.
  std::int64_t interleaved_heads = 0;
};

/// All weights of the model whose shape gguf_config() gave. Every tensor that is missing, has
/// another shape, cannot be widened or belongs to no such model is named in one kIo error.
Result<std::vector<GgufWeight>> gguf_weights(const GgufFile& file, const ModelConfig& config);

/// Fills `out` with a weight of this file as float32, its rows in the order of Hugging Face. `out`
/// has as many elements as the tensor; another size is an error.
Status widen(const GgufFile& file, const GgufWeight& weight, std::span<float> out);

}  // namespace tinkex::torch_ext::local
