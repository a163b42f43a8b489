#include "examples/support/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <system_error>

namespace sft {
namespace {

/// 0, or the error number.
int write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return ::fsync(file) == 0 ? 0 : errno;
}

/// A new name is durable once its folder is. 0, or the error number.
int sync_folder(const std::filesystem::path& folder) {
  const int file =
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return errno;
  int failed = ::fsync(file) == 0 ? 0 : errno;
  if (failed == EINVAL || failed == ENOTSUP) failed = 0;  // Some file systems have no such thing.
  ::close(file);
  return failed;
}

}  // namespace

tinkex::Error file_error(const std::string& what, const std::filesystem::path& path, int number) {
  std::string why = std::generic_category().message(number);
  if (number == ENOSPC || number == EDQUOT || number == EFBIG) {
    why += "; free some space or choose another --out";
  } else if (number == ENOTDIR) {
    why += "; choose another --out";
  } else if (number == ENAMETOOLONG) {
    why += "; choose a shorter name";
  }
  return tinkex::Error(tinkex::ErrorCode::kIo, "cannot " + what + " " + path.string() + ": " + why);
}

tinkex::Status write_file(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::path draft = path;
  draft += ".part";
  const int file = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return file_error("write", path, errno);
  int failed = write_all(file, text);
  if (::close(file) != 0 && failed == 0) failed = errno;
  if (failed == 0 && ::rename(draft.c_str(), path.c_str()) != 0) failed = errno;
  if (failed != 0) {
    ::unlink(draft.c_str());
    return file_error("write", path, failed);
  }
  // What is deleted next may be what the file named before: that must not survive a power failure.
  failed = sync_folder(path.parent_path());
  return failed == 0 ? tinkex::ok_status() : file_error("make durable", path, failed);
}

tinkex::Result<std::string> read_text(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return file_error("read", path, errno);
  std::string text;
  int failed = 0;
  for (std::array<char, 1 << 16> part{};;) {
    const ssize_t got = ::read(file, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) failed = errno;
    if (got <= 0) break;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  ::close(file);
  if (failed != 0) return file_error("read", path, failed);
  return text;
}

}  // namespace sft
