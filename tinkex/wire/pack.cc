#include "tinkex/wire/pack.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

namespace tinkex::wire {
namespace {

static_assert(std::endian::native == std::endian::little,
              "packed wire arrays are little-endian and are copied as they are");

constexpr std::uint64_t kTokenBits = 0x7fff'ffff;

// Inner loops of a fixed length are vectorised at -O2 too, and the block makes the stores
// independent of the alignment of `out`.
constexpr std::size_t kBlock = 128;

template <class To, class From>
void pack_as(std::span<const From> in, char* out) noexcept {
  if constexpr (std::is_same_v<To, From>) {
    if (!in.empty()) std::memcpy(out, in.data(), in.size_bytes());
  } else {
    To block[kBlock];
    std::size_t i = 0;
    for (; i + kBlock <= in.size(); i += kBlock) {
      for (std::size_t j = 0; j < kBlock; ++j) block[j] = convert_element<To>(in[i + j]);
      std::memcpy(out + i * sizeof(To), block, sizeof(block));
    }
    for (; i < in.size(); ++i) {
      const To value = convert_element<To>(in[i]);
      std::memcpy(out + i * sizeof(To), &value, sizeof(value));
    }
  }
}

// The range check costs one `or` per element: a bit above the 31 lowest means a token too large or
// negative.
template <class From>
std::uint64_t pack_tokens_as(std::span<const From> in, char* out) noexcept {
  std::int32_t block[kBlock];
  std::uint64_t seen = 0;
  std::size_t i = 0;
  for (; i + kBlock <= in.size(); i += kBlock) {
    for (std::size_t j = 0; j < kBlock; ++j) {
      const auto wide = static_cast<std::uint64_t>(convert_element<std::int64_t>(in[i + j]));
      seen |= wide;
      block[j] = static_cast<std::int32_t>(wide);
    }
    std::memcpy(out + i * sizeof(std::int32_t), block, sizeof(block));
  }
  for (; i < in.size(); ++i) {
    const auto wide = static_cast<std::uint64_t>(convert_element<std::int64_t>(in[i]));
    seen |= wide;
    const auto narrow = static_cast<std::int32_t>(wide);
    std::memcpy(out + i * sizeof(narrow), &narrow, sizeof(narrow));
  }
  return seen;
}

}  // namespace

void pack_floats(const TensorData& tensor, char* out) noexcept {
  visit_elements(tensor, [out](auto values) { pack_as<float>(values, out); });
}

void pack_ints(const TensorData& tensor, char* out) noexcept {
  visit_elements(tensor, [out](auto values) { pack_as<std::int64_t>(values, out); });
}

bool pack_tokens(const TensorData& tensor, char* out) noexcept {
  const std::uint64_t seen =
      visit_elements(tensor, [out](auto values) { return pack_tokens_as(values, out); });
  return (seen & ~kTokenBits) == 0;
}

void pack(const TensorData& tensor, DType wire, char* out) noexcept {
  if (wire == DType::kFloat32) {
    pack_floats(tensor, out);
  } else {
    pack_ints(tensor, out);
  }
}

std::optional<BadToken> find_bad_token(const TensorData& tensor) noexcept {
  return visit_elements(tensor, [](auto values) -> std::optional<BadToken> {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto value = convert_element<std::int64_t>(values[i]);
      if ((static_cast<std::uint64_t>(value) & ~kTokenBits) != 0) return BadToken{i, value};
    }
    return std::nullopt;
  });
}

}  // namespace tinkex::wire
