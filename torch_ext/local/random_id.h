#pragma once

#include <string>

namespace tinkex::torch_ext::local {

/// Sixteen random hexadecimal digits, different in every process.
std::string random_id();

}  // namespace tinkex::torch_ext::local
