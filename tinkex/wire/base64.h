#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace tinkex::wire {

/// Length of the base64 form, padding included.
constexpr std::size_t base64_size(std::size_t bytes) noexcept { return (bytes + 2) / 3 * 4; }
/// Writes base64_size(bytes.size()) characters of the standard alphabet to `out`.
void base64_encode(std::string_view bytes, char* out) noexcept;
/// nullopt unless `text` is padded base64 of the standard alphabet without white space.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace tinkex::wire
