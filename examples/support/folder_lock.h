#pragma once

#include <filesystem>
#include <memory>

#include "tinkex/error.h"

namespace sft {

/// Holds a folder for one run at a time, through a lock on its `.lock`. The lock goes with the
/// process, however that ends; the file goes with this object.
class FolderLock {
 public:
  /// Gives null if someone else holds the folder. Errors: kIo if the file cannot be made or locked.
  static tinkex::Result<std::unique_ptr<FolderLock>> take(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  FolderLock(std::filesystem::path path, int file) : path_(std::move(path)), file_(file) {}

  const std::filesystem::path path_;
  const int file_;
};

}  // namespace sft
