#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "tinkex/base/byte_buffer.h"
#include "tinkex/tensor_data.h"

/// Pieces of JSON text, appended to a buffer. Number arrays, nearly all of a body, are printed
/// straight from the tensors' memory; floats in their shortest exact form, and what JSON cannot
/// express (infinities, NaN) as null.
namespace tinkex::wire::json {

/// `text` must be UTF-8.
void write_string(std::string_view text, ByteBuffer& body);
void write_number(std::int64_t value, ByteBuffer& body);
void write_number(float value, ByteBuffer& body);
void write_number(double value, ByteBuffer& body);

/// Arrays, brackets included.
void write_floats(const TensorData& tensor, ByteBuffer& body);
void write_ints(const TensorData& tensor, ByteBuffer& body);
void write_ints(std::span<const std::int64_t> values, ByteBuffer& body);
void write_ints(std::span<const std::int32_t> values, ByteBuffer& body);
void write_floats(std::span<const float> values, ByteBuffer& body);
/// False if an element was outside [0, 2^31).
[[nodiscard]] bool write_tokens(const TensorData& tensor, ByteBuffer& body);

/// `{"data":[...],"dtype":...,"shape":[...]}`, with the row structure if sparse.
void write_tensor(const TensorData& tensor, DType wire, ByteBuffer& body);

}  // namespace tinkex::wire::json
