#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// A file whose bytes are mapped into memory, read-only, as long as the object lives. Immutable,
/// thread-safe. Pages are loaded when they are first read.
///
/// The system ends a process (SIGBUS) that reads a page which another one has cut off the file
/// since: whoever replaces such a file renames a new one into its place.
class MappedFile {
 public:
  /// Refuses what is no regular file; errors are kIo and name the path.
  static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  /// The whole file; it begins at the start of a page.
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::span<const std::byte> bytes_;
};

}  // namespace tinkex::torch_ext::local
