#pragma once

#include <string>
#include <string_view>

namespace tinkex::torch_ext::local {

/// Sixteen random hexadecimal digits, different in every process.
std::string random_id();
/// Whether a text looks like one.
bool is_random_id(std::string_view text);

}  // namespace tinkex::torch_ext::local
