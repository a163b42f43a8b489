#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "tinkex/error.h"

namespace sft {

/// kIo: what failed, where, and why by `errno`'s value.
tinkex::Error file_error(const std::string& what, const std::filesystem::path& path, int number);

/// Replaces `path` as a whole or, on failure, not at all, and waits until that is on the disk. If
/// only the waiting fails, which is an error too, the new file is there.
tinkex::Status write_file(const std::filesystem::path& path, std::string_view text);

/// The bytes of a file.
tinkex::Result<std::string> read_text(const std::filesystem::path& path);

}  // namespace sft
