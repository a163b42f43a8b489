#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tinkex/datum.h"
#include "tinkex/outputs.h"
#include "tinkex/wire/codec.h"

namespace tinkex::wire {

/// What both encodings demand of values, and how values are named in errors.

/// Arrays of more dimensions are refused in both directions: a hostile body could otherwise make
/// one long shape be copied for every datum.
inline constexpr std::size_t kMaxDimensions = 16;
/// Most named arrays that a decoder accepts for one datum: they are looked up one by one.
inline constexpr std::size_t kMaxNamedTensors = 256;

/// float32 for floating-point elements, else int64.
DType wire_dtype(const TensorData& tensor) noexcept;
/// The same for a loss input, some of which have a type by the API's rules: `target_tokens` is
/// int64; `weights`, `advantages`, `logprobs`, `clip_low_threshold`, `clip_high_threshold` and
/// `sequence_ratio_mask` are float32.
DType wire_dtype(std::string_view loss_input, const TensorData& tensor) noexcept;

/// `data[3].loss_fn_inputs['weights']`.
std::string loss_input_label(std::size_t datum, std::string_view name);
/// `data[3].model_input.chunks[0]`.
std::string chunk_label(std::size_t datum, std::size_t chunk);

/// Throws kInvalidArgument unless the values can be encoded. Does not look at the elements.
void check_request(const ForwardBackwardInput& input);
/// A prompt on its own, token ranges included.
void check_prompt(const ModelInput& prompt);
void check_output(const ForwardBackwardOutput& output);
void check_sample_response(const SampleResponse& response);

/// Throws kInvalidArgument that names the first token outside [0, 2^31).
[[noreturn]] void fail_bad_token(const TensorData& tokens, std::size_t datum, std::size_t chunk);

/// internal::element_count, which also refuses more than kMaxDimensions.
std::optional<std::size_t> element_count(Shape shape) noexcept;

/// Parts of decoding that both encodings share. Each throws kDecode.

/// Adds the shape and the row structure to flat values. An empty `shape` means one dimension.
struct TensorLayout {
  std::vector<std::int64_t> shape;
  bool sparse = false;
  std::vector<std::int64_t> crow_indices;
  std::vector<std::int64_t> col_indices;
};
TensorData arrange(std::vector<float> values, TensorLayout layout, const std::string& where);
TensorData arrange(std::vector<std::int64_t> values, TensorLayout layout, const std::string& where);
/// Adds a tensor, or replaces the one of that name, as the last of equal keys counts.
void set_tensor(NamedTensors& tensors, std::string name, TensorData tensor);

}  // namespace tinkex::wire
