#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tinkex::jinja {

/// The value of what is between the marks of a text in a tag, with Python's escapes; nullopt if one
/// of them is no character.
std::optional<std::string> string_literal(std::string_view body);

}  // namespace tinkex::jinja
