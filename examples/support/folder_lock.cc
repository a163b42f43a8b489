#include "examples/support/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "examples/support/files.h"

namespace sft {
namespace {

/// Some file systems may never tell the same of an open file and of its name.
constexpr int kAttempts = 100;

/// Whether `path` still names the open file: it may have been removed, or the folder moved.
bool is_at(int file, const std::filesystem::path& path) {
  struct stat open_file = {};
  struct stat named_file = {};
  return ::fstat(file, &open_file) == 0 && ::lstat(path.c_str(), &named_file) == 0 &&
         open_file.st_dev == named_file.st_dev && open_file.st_ino == named_file.st_ino;
}

}  // namespace

tinkex::Result<std::unique_ptr<FolderLock>> FolderLock::take(const std::filesystem::path& folder) {
  std::filesystem::path path = folder / ".lock";
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file < 0) return file_error("make", path, errno);
    if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      ::close(file);
      if (error == EWOULDBLOCK) return std::unique_ptr<FolderLock>();
      return file_error("lock", path, error);
    }
    if (is_at(file, path)) {
      return std::unique_ptr<FolderLock>(new FolderLock(std::move(path), file));
    }
    ::close(file);  // Its holder removed it just before we locked it, and locks nobody out.
  }
  return tinkex::Error(tinkex::ErrorCode::kIo,
                       "cannot lock " + path.string() + ": it was another file after each of " +
                           std::to_string(kAttempts) +
                           " attempts; its file system may not keep what identifies a file");
}

FolderLock::~FolderLock() {
  if (is_at(file_, path_)) ::unlink(path_.c_str());
  ::close(file_);
}

}  // namespace sft
