#pragma once

// Files that either are whole and durable or are reported as failed.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinkex/error.h"
#include "torch_ext/local/io_error.h"
#include "torch_ext/local/readable_file.h"

namespace tinkex::torch_ext::local {

/// Creates `path`, writes the text and waits until it is on the disk. An existing file is
/// truncated.
Status write_file(const std::filesystem::path& path, std::string_view text);

/// A file that is written piece by piece. Movable.
class WritableFile {
 public:
  /// An existing file is truncated.
  static Result<WritableFile> create(const std::filesystem::path& path);
  WritableFile(WritableFile&& other) noexcept;
  WritableFile& operator=(WritableFile&&) = delete;
  ~WritableFile();

  Status write(std::span<const std::byte> bytes);
  /// Waits until everything is on the disk; without it, any of it may be missing.
  Status close();

 private:
  WritableFile(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}

  std::filesystem::path path_;
  int fd_ = -1;
};

/// Writes what is in `from` to `to`, like write_file().
Status copy_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// The content of a file of at most `limit` bytes.
Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t limit);

/// hash64 of the file's bytes, read in blocks.
Result<std::uint64_t> hash_file(const std::filesystem::path& path);

/// A directory that is filled under a temporary name beside its final one. Until commit() succeeds
/// nothing is visible under the final name; the destructor removes what was not committed.
class AtomicDirectory {
 public:
  /// Makes the temporary directory, and the parents of `final_path` if they are missing.
  static Result<AtomicDirectory> create(std::filesystem::path final_path);
  AtomicDirectory(AtomicDirectory&& other) noexcept;
  AtomicDirectory& operator=(AtomicDirectory&&) = delete;
  ~AtomicDirectory();

  /// Where to write.
  const std::filesystem::path& path() const { return temporary_; }
  /// Whether a name is one that such a directory has until commit(), and that nothing else has.
  static bool is_temporary_name(std::string_view name);
  /// Renames into place and waits until that is on the disk. What is there already is an error
  /// unless `overwrite`; then the two change places in one step and the old one is removed.
  Status commit(bool overwrite);

 private:
  AtomicDirectory(std::filesystem::path final_path, std::filesystem::path temporary);

  std::filesystem::path final_;
  std::filesystem::path temporary_;
};

}  // namespace tinkex::torch_ext::local
