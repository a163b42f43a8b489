#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

/// JSON text to a tree. nlohmann reads the envelope; arrays of numbers, nearly all of a body, are
/// read with std::from_chars beforehand, which is many times faster, and stand in the tree packed,
/// as a binary value. Text alone cannot give a binary value, so nobody can forge one.
namespace tinkex::wire::json {

using Json = nlohmann::json;

/// Deeper nesting is refused; the API's own bodies have 8 levels.
inline constexpr std::size_t kMaxDepth = 64;

/// Parses a whole text. Throws kDecode. Every array of numbers, or of numbers and nulls, and every
/// empty one is packed, unless a number in it underflows; readers must know both forms.
Json parse(std::string_view text);

/// A packed array: int64 if all elements are integers of that range, else double with NaN for null.
bool is_packed(const Json& value) noexcept;
bool is_packed_integers(const Json& value) noexcept;
std::size_t packed_count(const Json& value) noexcept;
std::vector<std::int64_t> unpack_integers(const Json& value);
std::vector<double> unpack_reals(const Json& value);

}  // namespace tinkex::wire::json
