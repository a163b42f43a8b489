#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// A kIo error that names the path and what the system says about `error_number`, if it is not 0.
Error io_error(const std::filesystem::path& path, std::string_view what, int error_number);

/// The same of something that was to be saved: where the disk is full, that none of it is left.
Error save_error(const std::filesystem::path& path, std::string_view what, int error_number);

/// "'PATH': WHAT", of code kIo: what is wrong in a file.
Error file_error(const std::filesystem::path& path, const std::string& what);

}  // namespace tinkex::torch_ext::local
