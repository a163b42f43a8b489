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

/// Version 2: what the group of this process, and each above it, leaves. What only caches files
/// counts as used here, so the answer is rather too small.
std::optional<std::uint64_t> group_memory(const fs::path& root) {
  const std::string line = first_line(root / "proc/self/cgroup");
  if (line.rfind("0::/", 0) != 0) return std::nullopt;
  std::optional<std::uint64_t> least;
  const fs::path top = root / "sys/fs/cgroup";
  for (fs::path group = fs::path(line.substr(4)).lexically_normal();; group = group.parent_path()) {
    const auto limit = number_in(first_line(top / group / "memory.max"));
    const auto used = number_in(first_line(top / group / "memory.current"));
    if (limit && used) {
      const std::uint64_t left = *limit > *used ? *limit - *used : 0;
      least = std::min(least.value_or(left), left);
    }
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

}  // namespace tinkex::torch_ext::local
