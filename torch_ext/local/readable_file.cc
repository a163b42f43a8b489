#include "torch_ext/local/readable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "torch_ext/local/io_error.h"

namespace tinkex::torch_ext::local {

ReadableFile::ReadableFile(std::filesystem::path path, int fd, std::uint64_t size)
    : path_(std::move(path)), fd_(fd), size_(size) {}

ReadableFile::ReadableFile(ReadableFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

ReadableFile& ReadableFile::operator=(ReadableFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  return *this;
}

ReadableFile::~ReadableFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<ReadableFile> ReadableFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe would wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return io_error(path, "cannot open", errno);
  ReadableFile file(path, fd, 0);
  struct stat status {};
  if (::fstat(fd, &status) != 0) return io_error(path, "cannot look at", errno);
  if (!S_ISREG(status.st_mode)) return io_error(path, "this is no regular file:", 0);
  file.size_ = static_cast<std::uint64_t>(status.st_size);
  return file;
}

Status ReadableFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return io_error(path_, "cannot read", errno);
    if (got == 0) return cut_off(offset + out.size());
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return ok_status();
}

Error ReadableFile::cut_off(std::uint64_t expected) const {
  struct stat status {};
  const std::string now = ::fstat(fd_, &status) == 0 ? std::to_string(status.st_size) : "fewer";
  return file_error(path_, "has " + now + " bytes by now, expected at least " +
                               std::to_string(expected) +
                               "; it was cut off while it was read: restore it, and read it again");
}

}  // namespace tinkex::torch_ext::local
