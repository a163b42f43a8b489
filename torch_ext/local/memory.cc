#include "torch_ext/local/memory.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc()) return std::nullopt;  // "max"
  return number;
}

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The number of a line "NAME NUMBER".
std::uint64_t number_of(const fs::path& path, std::string_view wanted) {
  std::ifstream file(path);
  std::string name;
  std::uint64_t number = 0;
  while (file >> name >> number) {
    if (name == wanted) return number;
  }
  return 0;
}

std::optional<std::uint64_t> system_memory(const fs::path& root) {
  std::ifstream file(root / "proc/meminfo");
  std::string name;
  std::uint64_t kibibytes = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    if (words >> name >> kibibytes && name == "MemAvailable:") return kibibytes << 10;
  }
  return std::nullopt;
}

/// What a group may still take. The files that it caches count as used there, but give way.
std::optional<std::uint64_t> left_in(const fs::path& group) {
  const auto limit = number_in(first_line(group / "memory.max"));
  const auto used = number_in(first_line(group / "memory.current"));
  if (!limit || !used) return std::nullopt;
  const fs::path counts = group / "memory.stat";
  const std::uint64_t cached =
      number_of(counts, "inactive_file") + number_of(counts, "active_file");
  const std::uint64_t held = *used - std::min(*used, cached);
  return *limit - std::min(*limit, held);
}

/// Version 2: what the group of this process, and each above it, leaves.
std::optional<std::uint64_t> group_memory(const fs::path& root) {
  const std::string line = first_line(root / "proc/self/cgroup");
  if (line.rfind("0::/", 0) != 0) return std::nullopt;
  std::optional<std::uint64_t> least;
  const fs::path top = root / "sys/fs/cgroup";
  for (fs::path group = fs::path(line.substr(4)).lexically_normal();; group = group.parent_path()) {
    const auto left = left_in(top / group);
    if (left) least = std::min(least.value_or(*left), *left);
    if (group.empty() || group == group.parent_path()) return least;
  }
}

}  // namespace

std::optional<std::uint64_t> available_memory(const fs::path& root) {
  const auto system = system_memory(root);
  const auto group = group_memory(root);
  if (!system) return group;
  return group ? std::min(*system, *group) : *system;
}

double memory_to_load(const ModelConfig& config, std::size_t element_size,
                      std::uint64_t largest_read) {
  const double table =
      static_cast<double>(config.max_position_embeddings) * static_cast<double>(config.head_dim);
  // The table is in the type that is computed in, at least float32.
  const auto table_size = static_cast<double>(std::max(element_size, sizeof(float)));
  return config.parameter_count() * static_cast<double>(element_size) + table * table_size +
         static_cast<double>(largest_read);
}

}  // namespace tinkex::torch_ext::local
