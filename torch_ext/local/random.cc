#include "torch_ext/local/random.h"

#include <cmath>
#include <numbers>
#include <random>
#include <span>

#include "torch_ext/local/digest.h"

namespace tinkex::torch_ext::local {
namespace {

constexpr std::uint32_t kMultiplier0 = 0xD2511F53;
constexpr std::uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9;
constexpr std::uint32_t kWeyl1 = 0xBB67AE85;

constexpr std::uint32_t high(std::uint64_t value) {
  return static_cast<std::uint32_t>(value >> 32);
}
constexpr std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }

double to_unit(std::uint32_t hi, std::uint32_t lo) {
  const std::uint64_t bits = (std::uint64_t{hi} << 32 | lo) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

/// Calls `value(index)` for each element; float32 gets the double result rounded.
template <class Value>
void fill(const at::Tensor& tensor, Value value) {
  const std::int64_t count = tensor.numel();
  if (tensor.scalar_type() == at::ScalarType::Double) {
    double* out = tensor.mutable_data_ptr<double>();
    for (std::int64_t i = 0; i < count; ++i) out[i] = value(static_cast<std::uint64_t>(i));
  } else {
    float* out = tensor.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < count; ++i) {
      out[i] = static_cast<float>(value(static_cast<std::uint64_t>(i)));
    }
  }
}

}  // namespace

RandomStream RandomStream::named(std::uint64_t seed, std::string_view name) {
  return RandomStream(hash64(std::as_bytes(std::span(name)), seed));
}

std::array<std::uint32_t, 4> RandomStream::block(std::uint64_t counter) const {
  std::array<std::uint32_t, 4> x{low(counter), high(counter), low(lane_), high(lane_)};
  std::uint32_t k0 = low(key_);
  std::uint32_t k1 = high(key_);
  for (int round = 0; round < 10; ++round, k0 += kWeyl0, k1 += kWeyl1) {
    const std::uint64_t p0 = std::uint64_t{kMultiplier0} * x[0];
    const std::uint64_t p1 = std::uint64_t{kMultiplier1} * x[2];
    x = {high(p1) ^ x[1] ^ k0, low(p1), high(p0) ^ x[3] ^ k1, low(p0)};
  }
  return x;
}

double RandomStream::uniform(std::uint64_t index) const {
  const auto x = block(index / 2);
  return index % 2 == 0 ? to_unit(x[0], x[1]) : to_unit(x[2], x[3]);
}

void fill_normal(const at::Tensor& tensor, RandomStream stream, double std) {
  fill(tensor, [&](std::uint64_t index) {
    const auto x = stream.block(index / 2);
    const double radius = std::sqrt(-2.0 * std::log1p(-to_unit(x[0], x[1])));
    const double angle = 2.0 * std::numbers::pi * to_unit(x[2], x[3]);
    return std * radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
  });
}

void fill_uniform(const at::Tensor& tensor, RandomStream stream, double bound) {
  fill(tensor, [&](std::uint64_t index) { return bound * (2.0 * stream.uniform(index) - 1.0); });
}

std::uint64_t fresh_seed() {
  std::random_device device;
  // One bit short of 64: a seed is recorded as a signed number.
  return (std::uint64_t{device()} << 32 | device()) >> 1;
}

}  // namespace tinkex::torch_ext::local
