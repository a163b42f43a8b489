#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>

#include "torch_ext/local/config.h"

namespace tinkex::torch_ext::local {

/// Bytes of memory that this process may still take: what the system has free or can free
/// (`MemAvailable`), or less where a control group allows less, cached files not counted. Nothing
/// where the system does not tell. `root` is where /proc and /sys are, for tests.
std::optional<std::uint64_t> available_memory(const std::filesystem::path& root = "/");

/// Bytes that loading a model takes at most: its weights and its table of rotary positions, of
/// `element_size` bytes a number, and the largest tensor as its file has it (`largest_read`), which
/// is converted when it has been read.
double memory_to_load(const ModelConfig& config, std::size_t element_size,
                      std::uint64_t largest_read);

}  // namespace tinkex::torch_ext::local
