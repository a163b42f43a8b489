#include "torch_ext/local/checkpoint_tree.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <utility>

#include "tinkex/validate.h"
#include "torch_ext/local/file_io.h"
#include "torch_ext/local/random_id.h"

namespace tinkex::torch_ext::local {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxRunId = 128;
constexpr CheckpointKind kKinds[] = {CheckpointKind::kTraining, CheckpointKind::kSampler};

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '-';
}

/// An id that cannot lead out of the data directory.
bool is_safe_run(std::string_view id) {
  if (id.empty() || id.size() > kMaxRunId || id.front() == '.') return false;
  return std::all_of(id.begin(), id.end(), [](char c) { return is_plain(c) || c == ':'; });
}

constexpr std::string_view kSetAside = ".deleted-";

/// Whether a name is one of set_aside() or of a save: others' folders may begin with a dot, too.
bool is_remains(std::string_view name) {
  if (!name.starts_with(kSetAside)) return AtomicDirectory::is_temporary_name(name);
  name.remove_prefix(kSetAside.size());
  return !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
}

Result<fs::path> make_temporary() {
  std::error_code problem;
  const fs::path parent = fs::temp_directory_path(problem);
  std::string pattern = (problem ? fs::path("/tmp") : parent) / "tinkex-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) {
    return io_error(pattern, "cannot make the temporary directory", errno);
  }
  return fs::path(pattern);
}

/// What the lock file says of its holder: the number of the process, and something of its own.
/// Containers that share a directory give the same number to several processes.
std::string process_mark() {
  static const std::string nonce = random_id();
  return std::to_string(::getpid()) + " " + nonce + "\n";
}

/// What errors say of who has locked the directory, and how to go on.
std::string holder_of(int file) {
  char text[128] = {};
  const ssize_t length = ::pread(file, text, sizeof(text), 0);
  const std::string_view mark(text, length > 0 ? static_cast<std::size_t>(length) : 0);
  if (mark == process_mark()) {
    return " of this process, which ends when the last object of its service is gone, not with "
           "close(); drop those, or choose another directory";
  }
  const std::string process(mark.substr(0, mark.find_first_not_of("0123456789")));
  return (process.empty() ? "" : " (process " + process + ")") +
         std::string("; stop that one or choose another directory");
}

/// Takes the lock of the directory. It goes with the process, however that ends.
Result<int> lock_directory(const fs::path& root) {
  const fs::path path = root / ".lock";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return io_error(root, "cannot use the data directory", errno);
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    const std::string holder = holder_of(file);
    ::close(file);
    if (error != EWOULDBLOCK) return io_error(path, "cannot lock", error);
    return Error(ErrorCode::kIo,
                 "the data directory " + root.string() + " is in use by another backend" + holder);
  }
  const std::string mark = process_mark();
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, mark.data(), mark.size(), 0) < 0) {
    const int error = errno;
    ::close(file);
    return io_error(path, "cannot write", error);
  }
  return file;
}

std::vector<std::string> folders_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (entry->symlink_status(ignored).type() == fs::file_type::directory) {
      names.push_back(entry->path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// An error where that cannot be told, for lack of a permission or for a disk that fails.
Result<bool> is_checkpoint(const fs::path& directory) {
  std::error_code problem;
  const fs::file_type type = fs::symlink_status(directory, problem).type();
  if (type == fs::file_type::none) {
    return io_error(directory, "cannot look at", problem.value());
  }
  return type == fs::file_type::directory;
}

std::int64_t written_at(const fs::path& directory) {
  struct stat status = {};
  return ::stat(directory.c_str(), &status) == 0 ? status.st_mtim.tv_sec : 0;
}

}  // namespace

std::string_view folder_of(CheckpointKind kind) noexcept {
  return kind == CheckpointKind::kTraining ? "weights" : "sampler_weights";
}

Result<CheckpointPath> CheckpointPath::parse(std::string_view text) {
  constexpr std::string_view kScheme = "tinker://";
  const auto refuse = [&] {
    return invalid_argument("checkpoint path '" + std::string(text.substr(0, 512)) +
                            "' must be tinker://<run>/weights/<name> or "
                            "tinker://<run>/sampler_weights/<name>");
  };
  if (!text.starts_with(kScheme)) return refuse();
  const std::string_view rest = text.substr(kScheme.size());
  const std::size_t first = rest.find('/');
  const std::size_t second =
      first == std::string_view::npos ? std::string_view::npos : rest.find('/', first + 1);
  if (second == std::string_view::npos) return refuse();
  CheckpointPath path;
  path.run_id = rest.substr(0, first);
  path.name = rest.substr(second + 1);
  const std::string_view folder = rest.substr(first + 1, second - first - 1);
  if (!is_safe_run(path.run_id) || !validate_checkpoint_name(path.name)) return refuse();
  for (const CheckpointKind kind : kKinds) {
    if (folder != folder_of(kind)) continue;
    path.kind = kind;
    return path;
  }
  return refuse();
}

std::string CheckpointPath::text() const {
  return "tinker://" + run_id + "/" + std::string(folder_of(kind)) + "/" + name;
}

Result<std::unique_ptr<CheckpointTree>> CheckpointTree::open(fs::path root) {
  const bool temporary = root.empty();
  if (temporary) {
    Result<fs::path> made = make_temporary();
    if (!made) return made.error();
    root = *std::move(made);
  }
  std::error_code error;
  fs::create_directories(root, error);
  if (error) return io_error(root, "cannot make the data directory", error.value());
  const Result<int> lock = lock_directory(root);
  if (!lock) return lock.error();
  std::unique_ptr<CheckpointTree> tree(new CheckpointTree(std::move(root), temporary, *lock));
  tree->remove_remains();
  return tree;
}

CheckpointTree::~CheckpointTree() {
  std::error_code ignored;
  if (temporary_) {
    fs::remove_all(root_, ignored);
  } else {
    remove_remains();
  }
  ::close(lock_);
}

void CheckpointTree::remove_remains() const {
  for (const std::string& run : folders_in(root_)) {
    for (const CheckpointKind kind : kKinds) {
      const fs::path folder = root_ / run / folder_of(kind);
      for (const std::string& name : folders_in(folder)) {
        std::error_code ignored;
        if (is_safe_run(run) && is_remains(name)) fs::remove_all(folder / name, ignored);
      }
    }
  }
}

fs::path CheckpointTree::directory(const CheckpointPath& path) const {
  return root_ / path.run_id / folder_of(path.kind) / path.name;
}

Result<fs::path> CheckpointTree::find(const CheckpointPath& path) const {
  fs::path found = directory(path);
  const Result<bool> there = is_checkpoint(found);
  if (!there) return there.error();
  if (*there) return found;
  std::string known;
  for (const Item& item : list(path.run_id))
    known += (known.empty() ? "" : ", ") + item.path.text();
  return invalid_argument("there is no checkpoint " + path.text() + "; " +
                          (known.empty() ? "the run has none" : "the run has " + known));
}

Result<std::optional<fs::path>> CheckpointTree::set_aside(const CheckpointPath& path) const {
  using Doomed = std::optional<fs::path>;
  const fs::path found = directory(path);
  const Result<bool> there = is_checkpoint(found);
  if (!there) return there.error();
  if (!*there) return Doomed();
  // Under a name that is nobody's: what an end of the process leaves of it goes when the tree is
  // opened the next time.
  static std::atomic<int> number{0};
  fs::path doomed =
      found.parent_path() / (std::string(kSetAside) + std::to_string(number.fetch_add(1)));
  std::error_code problem;
  fs::rename(found, doomed, problem);
  if (problem == std::errc::no_such_file_or_directory) return Doomed();  // Another call was first.
  if (problem) return io_error(found, "cannot delete", problem.value());
  return Doomed(std::move(doomed));
}

Status CheckpointTree::discard(const fs::path& folder) {
  std::error_code problem;
  fs::remove_all(folder, problem);
  if (!problem) return ok_status();
  return io_error(folder, "cannot free the space of", problem.value());
}

Status CheckpointTree::make_parent(const CheckpointPath& path) const {
  const fs::path parent = directory(path).parent_path();
  std::error_code error;
  fs::create_directories(parent, error);
  if (error) return save_error(parent, "cannot make", error.value());
  // A new folder is durable only when its parent has been synced.
  for (const fs::path& folder : {parent.parent_path(), root_}) {
    const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return io_error(folder, "cannot open", errno);
    ::fsync(file);
    ::close(file);
  }
  return ok_status();
}

std::vector<CheckpointTree::Item> CheckpointTree::list(std::string_view run_id) const {
  std::vector<Item> items;
  if (!is_safe_run(run_id)) return items;
  for (const CheckpointKind kind : kKinds) {
    const fs::path folder = root_ / run_id / folder_of(kind);
    for (std::string& name : folders_in(folder)) {
      if (!validate_checkpoint_name(name)) continue;
      const std::int64_t time = written_at(folder / name);
      items.push_back({{std::string(run_id), kind, std::move(name)}, time});
    }
  }
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.time < b.time; });
  return items;
}

std::vector<std::string> CheckpointTree::runs() const {
  std::vector<std::string> runs = folders_in(root_);
  std::erase_if(runs, [this](const std::string& run) { return list(run).empty(); });
  return runs;
}

}  // namespace tinkex::torch_ext::local
