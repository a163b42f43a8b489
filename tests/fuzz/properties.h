#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "tests/fuzz/allocation_meter.h"
#include "tinkex/error.h"
#include "tinkex/transport.h"
#include "tinkex/wire/codec.h"

/// What has to hold for every input, however hostile. A property that does not hold ends the
/// process, which is what libFuzzer and the corpus tests look for.

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace tinkex::fuzz {

[[noreturn]] void report_broken(const char* property, const char* file, int line) noexcept;

#define TINKEX_FUZZ_CHECK(property) \
  ((property) ? void() : ::tinkex::fuzz::report_broken(#property, __FILE__, __LINE__))

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// The longest error message; a server's text is cut to 1,000 bytes.
inline constexpr std::size_t kMaxMessage = 2'048;

/// The error has one of the codes, and its message is one bounded line of valid UTF-8 without
/// control characters.
void check_error(const Error& error, std::initializer_list<ErrorCode> codes);

/// Small values weigh the most: an empty JSON array takes three bytes of text, an empty protobuf
/// message two. The constant is what 65,536 datums without content take, which need no bytes at
/// all.
constexpr std::size_t allowed_memory(std::size_t input_bytes) {
  return 256 * input_bytes + (std::size_t{4} << 20);
}

/// Calls `decode()`; checks that it takes no more memory at once than a bound that grows with
/// `input_bytes` alone, and that an error is a presentable kDecode.
template <class Decode>
auto decode_within_bounds(std::size_t input_bytes, Decode&& decode) {
  const AllocationMeter meter;
  auto result = std::forward<Decode>(decode)();
  TINKEX_FUZZ_CHECK(meter.peak() <= allowed_memory(input_bytes));
  if (!result.ok()) check_error(result.error(), {ErrorCode::kDecode});
  return result;
}

/// Decodes `body` as a request and as each result; what was decoded is encoded and decoded again
/// and must be the same.
void check_request(const wire::Codec& codec, std::string_view body, bool forward_only);
void check_results(const wire::Codec& codec, std::string_view body);

/// What every reply that is no success must give.
void check_error_of(const HttpResponse& reply);
/// What an answer to a poll must give.
void check_poll_reply(const HttpResponse& reply);

/// Numbers and texts from the bytes of an input; zeros and nothing beyond its end.
class ByteSource {
 public:
  ByteSource(const std::uint8_t* data, std::size_t size) : rest_(text_of(data, size)) {}

  bool empty() const noexcept { return rest_.empty(); }
  std::string_view take(std::size_t count) {
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  template <class Number>
  Number number() {
    Number value{};
    const std::string_view bytes = take(sizeof(value));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  /// Up to and without the next `end`, which is dropped.
  std::string_view until(char end) {
    const std::size_t length = rest_.find(end);
    const std::string_view taken = take(length);
    if (length != std::string_view::npos) rest_.remove_prefix(1);
    return taken;
  }
  std::string_view rest() const noexcept { return rest_; }

 private:
  std::string_view rest_;
};

}  // namespace tinkex::fuzz
