// Where the working directory was removed, MKL ends the process while LibTorch is loaded, with
// "Cannot load libtorch_cpu.so". Only .preinit_array comes before that, and there nothing but plain
// system calls can be relied on, least of all under a sanitizer.

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <string_view>

namespace {

constexpr int kUsageError = 2;

void say(std::string_view text) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

void check_working_directory(int /*argc*/, char** argv, char** /*environment*/) {
  char path[PATH_MAX];
  if (::syscall(SYS_getcwd, path, sizeof(path)) >= 0 || errno != ENOENT) return;
  std::string_view program = argv[0] != nullptr ? argv[0] : "";
  program.remove_prefix(program.rfind('/') + 1);
  say(program);
  say(": the working directory was removed; change to one that is there\n");
  ::_exit(kUsageError);
}

using Start = void (*)(int, char**, char**);
[[gnu::section(".preinit_array"), gnu::used]] const Start kStart = check_working_directory;

}  // namespace
