#include "torch_ext/local/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "torch_ext/local/io_error.h"

namespace tinkex::torch_ext::local {
namespace {

/// The content of an open file; `fd` may be closed afterwards.
Result<std::span<const std::byte>> map(const std::filesystem::path& path, int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return io_error(path, "cannot look at", errno);
  if (!S_ISREG(status.st_mode)) return io_error(path, "this is no regular file:", 0);
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return std::span<const std::byte>();  // mmap refuses it
  void* start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (start == MAP_FAILED) return io_error(path, "cannot map", errno);
  return std::span(static_cast<const std::byte*>(start), size);
}

}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  // O_NONBLOCK: opening a pipe would wait for a writer.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return io_error(path, "cannot open", errno);
  const Result<std::span<const std::byte>> bytes = map(path, fd);
  ::close(fd);
  if (!bytes) return bytes.error();
  return std::shared_ptr<const MappedFile>(new MappedFile(*bytes));
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace tinkex::torch_ext::local
