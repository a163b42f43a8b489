#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tinkex::torch_ext::local {

/// An element type of ggml, the tensor library of llama.cpp. Elements are stored in blocks, each a
/// whole number of bytes: a quantised block is one or two float16 numbers and small integers.
struct GgmlType {
  /// Fills `out` with the numbers of `blocks` blocks. `in` may lie at any address and must not
  /// overlap `out`.
  using Widen = void (*)(const std::byte* in, std::size_t blocks, float* out);

  std::uint32_t id;  ///< As GGUF files give it.
  const char* name;
  std::int64_t block_elements;
  std::int64_t block_bytes;
  Widen widen;  ///< Null for a type of which only the size is known.
};

/// The type of that number, or null. What it returns lives for ever.
const GgmlType* find_ggml_type(std::uint32_t id);

/// `F32, F16, ...`: the types that can be widened.
std::string widened_ggml_types();

}  // namespace tinkex::torch_ext::local
