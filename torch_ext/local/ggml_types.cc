// The blocks are those of ggml-common.h of github.com/ggml-org/ggml, and every number comes out bit
// for bit as the Python package `gguf` dequantises it: a product of a float16 number and an integer
// of at most 8 bits is exact in float32, so that contracting it with the sum changes nothing.

#include "torch_ext/local/ggml_types.h"

#include <bit>
#include <cstring>

namespace tinkex::torch_ext::local {
namespace {

// The numbers in the file are little-endian and taken as they are.
static_assert(std::endian::native == std::endian::little);

/// float16 to float32, exactly: infinities, NaNs with their payload and subnormal numbers too.
/// Without branches and without arithmetic on subnormal numbers, which some threads flush to zero.
inline float from_half(std::uint16_t half) {
  constexpr std::uint32_t kRebias = 112U << 23;  // 127 - 15, in the exponent of a float32
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7FFFU;
  std::uint32_t bits = (magnitude << 13) + kRebias;
  bits += magnitude >= 0x7C00U ? kRebias : 0U;
  const float subnormal = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24F;
  bits = magnitude < 0x0400U ? std::bit_cast<std::uint32_t>(subnormal) : bits;
  return std::bit_cast<float>(bits | sign);
}

inline std::uint16_t word_at(const std::byte* in) {
  std::uint16_t word = 0;
  std::memcpy(&word, in, sizeof(word));
  return word;
}

void widen_f32(const std::byte* in, std::size_t blocks, float* out) {
  std::memcpy(out, in, blocks * sizeof(float));
}

void widen_f16(const std::byte* __restrict in, std::size_t blocks, float* __restrict out) {
  for (std::size_t i = 0; i < blocks; ++i) out[i] = from_half(word_at(in + 2 * i));
}

void widen_bf16(const std::byte* __restrict in, std::size_t blocks, float* __restrict out) {
  for (std::size_t i = 0; i < blocks; ++i) {
    out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(word_at(in + 2 * i)) << 16);
  }
}

/// Byte j of a block holds element j in its low four bits and element j + 16 in the others.
constexpr std::size_t kHalfBlock = 16;

void widen_q4_0(const std::byte* __restrict in, std::size_t blocks, float* __restrict out) {
  for (; blocks > 0; --blocks, in += 2 + kHalfBlock, out += 2 * kHalfBlock) {
    const float scale = from_half(word_at(in));
    for (std::size_t j = 0; j < kHalfBlock; ++j) {
      const int pair = std::to_integer<int>(in[2 + j]);
      out[j] = scale * static_cast<float>((pair & 15) - 8);
      out[j + kHalfBlock] = scale * static_cast<float>((pair >> 4) - 8);
    }
  }
}

void widen_q4_1(const std::byte* __restrict in, std::size_t blocks, float* __restrict out) {
  for (; blocks > 0; --blocks, in += 4 + kHalfBlock, out += 2 * kHalfBlock) {
    const float scale = from_half(word_at(in));
    const float smallest = from_half(word_at(in + 2));
    for (std::size_t j = 0; j < kHalfBlock; ++j) {
      const int pair = std::to_integer<int>(in[4 + j]);
      out[j] = scale * static_cast<float>(pair & 15) + smallest;
      out[j + kHalfBlock] = scale * static_cast<float>(pair >> 4) + smallest;
    }
  }
}

void widen_q8_0(const std::byte* __restrict in, std::size_t blocks, float* __restrict out) {
  constexpr std::size_t kBlock = 2 * kHalfBlock;
  for (; blocks > 0; --blocks, in += 2 + kBlock, out += kBlock) {
    const float scale = from_half(word_at(in));
    for (std::size_t j = 0; j < kBlock; ++j) {
      const auto number = static_cast<std::int8_t>(std::to_integer<std::uint8_t>(in[2 + j]));
      out[j] = scale * static_cast<float>(number);
    }
  }
}

constexpr GgmlType kTypes[] = {
    {0, "F32", 1, 4, widen_f32},       {1, "F16", 1, 2, widen_f16},
    {2, "Q4_0", 32, 18, widen_q4_0},   {3, "Q4_1", 32, 20, widen_q4_1},
    {6, "Q5_0", 32, 22, nullptr},      {7, "Q5_1", 32, 24, nullptr},
    {8, "Q8_0", 32, 34, widen_q8_0},   {9, "Q8_1", 32, 40, nullptr},
    {10, "Q2_K", 256, 84, nullptr},    {11, "Q3_K", 256, 110, nullptr},
    {12, "Q4_K", 256, 144, nullptr},   {13, "Q5_K", 256, 176, nullptr},
    {14, "Q6_K", 256, 210, nullptr},   {15, "Q8_K", 256, 292, nullptr},
    {16, "IQ2_XXS", 256, 66, nullptr}, {17, "IQ2_XS", 256, 74, nullptr},
    {18, "IQ3_XXS", 256, 98, nullptr}, {19, "IQ1_S", 256, 50, nullptr},
    {20, "IQ4_NL", 32, 18, nullptr},   {21, "IQ3_S", 256, 110, nullptr},
    {22, "IQ2_S", 256, 82, nullptr},   {23, "IQ4_XS", 256, 136, nullptr},
    {24, "I8", 1, 1, nullptr},         {25, "I16", 1, 2, nullptr},
    {26, "I32", 1, 4, nullptr},        {27, "I64", 1, 8, nullptr},
    {28, "F64", 1, 8, nullptr},        {29, "IQ1_M", 256, 56, nullptr},
    {30, "BF16", 1, 2, widen_bf16},    {34, "TQ1_0", 256, 54, nullptr},
    {35, "TQ2_0", 256, 66, nullptr},   {39, "MXFP4", 32, 17, nullptr},
};

}  // namespace

const GgmlType* find_ggml_type(std::uint32_t id) {
  for (const GgmlType& type : kTypes) {
    if (type.id == id) return &type;
  }
  return nullptr;
}

std::string widened_ggml_types() {
  std::string names;
  for (const GgmlType& type : kTypes) {
    if (type.widen == nullptr) continue;
    names += (names.empty() ? "" : ", ") + std::string(type.name);
  }
  return names;
}

}  // namespace tinkex::torch_ext::local
