#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace tinkex::torch_ext::local {

/// Bytes of memory that this process may still take: what the system has free or can free
/// (`MemAvailable`), or less where a control group allows less. Nothing where the system does not
/// tell. `root` is where /proc and /sys are, for tests.
std::optional<std::uint64_t> available_memory(const std::filesystem::path& root = "/");

}  // namespace tinkex::torch_ext::local
