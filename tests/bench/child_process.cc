#include "tests/bench/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace tinkex::bench {
namespace {

constexpr std::chrono::milliseconds kLook{5};

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
  }
  return ends;
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& command) : name_(command.front()) {
  const std::array<int, 2> in = make_pipe(), out = make_pipe();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));  // NOLINT(*-const-cast): of POSIX
  }
  arguments.push_back(nullptr);
  const int failed =
      ::posix_spawnp(&pid_, name_.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(in[0]);
  ::close(out[1]);
  to_ = ::fdopen(in[1], "w");
  from_ = ::fdopen(out[0], "r");
  if (failed != 0) {
    pid_ = -1;
    throw std::runtime_error("could not start " + name_ + ": " + std::strerror(failed));
  }
}

ChildProcess::~ChildProcess() {
  if (to_ != nullptr) std::fclose(to_);
  if (from_ != nullptr) std::fclose(from_);
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::string ChildProcess::read_line() {
  std::string line;
  for (int c = std::fgetc(from_); c != '\n'; c = std::fgetc(from_)) {
    if (c == EOF) throw std::runtime_error(name_ + " ended without an answer");
    line.push_back(static_cast<char>(c));
  }
  return line;
}

void ChildProcess::write_line(const std::string& line) {
  std::fputs((line + "\n").c_str(), to_);
  std::fflush(to_);
}

void ChildProcess::join() {
  std::fclose(to_);
  to_ = nullptr;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error(name_ + " failed");
}

Footprint footprint_of(pid_t pid) {
  Footprint now;
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  for (std::string key; status >> key; status.ignore(1'000, '\n')) {
    if (key == "VmRSS:") status >> now.rss_kib;
    if (key == "Threads:") status >> now.threads;
  }
  return now;
}

double cpu_seconds_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

PeakWatch::PeakWatch(pid_t pid) {
  thread_ = std::thread([this, pid] {
    while (!stopped_.load()) {
      const Footprint now = footprint_of(pid);
      peak_.threads = std::max(peak_.threads, now.threads);
      peak_.rss_kib = std::max(peak_.rss_kib, now.rss_kib);
      std::this_thread::sleep_until(std::chrono::steady_clock::now() + kLook);
    }
  });
}

Footprint PeakWatch::stop() {
  stopped_.store(true);
  if (thread_.joinable()) thread_.join();
  return peak_;
}

}  // namespace tinkex::bench
