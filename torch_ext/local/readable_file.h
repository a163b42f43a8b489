#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "tinkex/error.h"

namespace tinkex::torch_ext::local {

/// A file open for reading at positions. Movable; read() is thread-safe.
class ReadableFile {
 public:
  /// Refuses what is no regular file; errors are kIo and name the path.
  static Result<ReadableFile> open(const std::filesystem::path& path);
  ReadableFile(ReadableFile&& other) noexcept;
  ReadableFile& operator=(ReadableFile&& other) noexcept;
  ~ReadableFile();

  const std::filesystem::path& path() const { return path_; }
  /// In bytes, when it was opened.
  std::uint64_t size() const { return size_; }
  /// Fills `out` from `offset`. A file that ends before, though it did not when it was opened, is
  /// an error: unlike a mapping of it, which would end the process.
  Status read(std::uint64_t offset, std::span<std::byte> out) const;

 private:
  ReadableFile(std::filesystem::path path, int fd, std::uint64_t size);
  Error cut_off(std::uint64_t expected) const;

  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace tinkex::torch_ext::local
