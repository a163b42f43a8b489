#include "torch_ext/local/file_io.h"

#include <fcntl.h>
#include <stdio.h>  // NOLINT(modernize-deprecated-headers): renameat2 is of POSIX
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "torch_ext/local/digest.h"
#include "torch_ext/local/random_id.h"

namespace tinkex::torch_ext::local {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kBlock = std::size_t{1} << 20;

bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), std::min(bytes.size(), kBlock));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

Status sync_directory(const fs::path& path) {
  const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = directory >= 0 && ::fsync(directory) == 0;
  const int problem = errno;
  if (directory >= 0) ::close(directory);
  return synced ? ok_status() : save_error(path, "cannot make the directory durable", problem);
}

/// Gives the bytes of a file to `take`, which may fail, block by block.
template <class Take>
Status in_blocks(const ReadableFile& file, Take&& take) {
  std::vector<std::byte> block(kBlock);
  for (std::uint64_t offset = 0; offset < file.size(); offset += kBlock) {
    const std::span<std::byte> part =
        std::span(block).first(std::min<std::uint64_t>(kBlock, file.size() - offset));
    Status status = file.read(offset, part);
    if (status) status = take(std::span<const std::byte>(part));
    if (!status) return status;
  }
  return ok_status();
}

constexpr std::string_view kTemporaryPrefix = ".tmp-";

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

WritableFile::WritableFile(WritableFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

WritableFile::~WritableFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<WritableFile> WritableFile::create(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return save_error(path, "cannot create", errno);
  return WritableFile(path, fd);
}

Status WritableFile::write(std::span<const std::byte> bytes) {
  if (!write_all(fd_, bytes)) return save_error(path_, "cannot write", errno);
  return ok_status();
}

Status WritableFile::close() {
  if (::fsync(fd_) != 0) return save_error(path_, "cannot make durable", errno);
  if (::close(std::exchange(fd_, -1)) != 0) return save_error(path_, "cannot close", errno);
  return ok_status();
}

Status write_file(const fs::path& path, std::string_view text) {
  Result<WritableFile> file = WritableFile::create(path);
  if (!file) return file.error();
  const Status written = file->write(std::as_bytes(std::span(text)));
  return written ? file->close() : written;
}

Status copy_durably(const fs::path& from, const fs::path& to) {
  const Result<ReadableFile> source = ReadableFile::open(from);
  if (!source) return source.error();
  Result<WritableFile> target = WritableFile::create(to);
  if (!target) return target.error();
  const Status copied = in_blocks(*source, [&](auto block) { return target->write(block); });
  return copied ? target->close() : copied;
}

Result<std::string> read_file(const fs::path& path, std::uint64_t limit) {
  const Result<ReadableFile> file = ReadableFile::open(path);
  if (!file) return file.error();
  if (file->size() > limit) {
    return io_error(path, "more than " + std::to_string(limit) + " bytes in", 0);
  }
  std::string text(static_cast<std::size_t>(file->size()), '\0');
  const Status status = file->read(0, std::as_writable_bytes(std::span(text)));
  if (!status) return status.error();
  return text;
}

Result<std::uint64_t> hash_file(const fs::path& path) {
  const Result<ReadableFile> file = ReadableFile::open(path);
  if (!file) return file.error();
  // Blocks are chained by the seed: the digest of a file is not the plain hash64 of its bytes.
  std::uint64_t hash = 0;
  const Status status = in_blocks(*file, [&](std::span<const std::byte> block) {
    hash = hash64(block, hash);
    return ok_status();
  });
  if (!status) return status.error();
  return hash;
}

AtomicDirectory::AtomicDirectory(fs::path final_path, fs::path temporary)
    : final_(std::move(final_path)), temporary_(std::move(temporary)) {}

AtomicDirectory::AtomicDirectory(AtomicDirectory&& other) noexcept
    : final_(std::move(other.final_)), temporary_(std::exchange(other.temporary_, {})) {}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
}

Result<AtomicDirectory> AtomicDirectory::create(fs::path final_path) {
  const fs::path parent = parent_of(final_path);
  std::error_code problem;
  fs::create_directories(parent, problem);
  if (problem) return save_error(parent, "cannot create the directory", problem.value());
  fs::path temporary = parent / (std::string(kTemporaryPrefix) + random_id());
  if (::mkdir(temporary.c_str(), 0755) != 0) {
    return save_error(temporary, "cannot create the directory", errno);
  }
  return AtomicDirectory(std::move(final_path), std::move(temporary));
}

bool AtomicDirectory::is_temporary_name(std::string_view name) {
  return name.starts_with(kTemporaryPrefix) && is_random_id(name.substr(kTemporaryPrefix.size()));
}

Status AtomicDirectory::commit(bool overwrite) {
  Status status = sync_directory(temporary_);
  if (!status) return status;
  const auto rename = [this](unsigned flags) {
    return ::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, final_.c_str(), flags) == 0;
  };
  bool moved = false;
  while (!(moved = rename(RENAME_NOREPLACE))) {
    if (errno != EEXIST) return save_error(final_, "cannot rename into", errno);
    if (!overwrite) return io_error(final_, "there already is something at", 0);
    if (rename(RENAME_EXCHANGE)) break;
    // Deleted in between: there is nothing to exchange any more.
    if (errno != ENOENT) return save_error(final_, "cannot replace", errno);
  }
  // After an exchange temporary_ is the old directory, which the destructor removes.
  if (moved) temporary_.clear();
  return sync_directory(parent_of(final_));
}

}  // namespace tinkex::torch_ext::local
