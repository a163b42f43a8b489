#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// The JSON object in a file of at most `limit` bytes, see parse_strict_json(). Errors are kIo and
/// name the file.
Result<nlohmann::json> read_json_object(const std::filesystem::path& file, std::uint64_t limit);

}  // namespace tinkex::torch_ext::local
