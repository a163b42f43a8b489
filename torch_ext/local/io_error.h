#pragma once

#include <filesystem>
#include <string_view>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// A kIo error that names the path and what the system says about `error_number`, if it is not 0.
Error io_error(const std::filesystem::path& path, std::string_view what, int error_number);

}  // namespace tinkex::torch_ext::local
