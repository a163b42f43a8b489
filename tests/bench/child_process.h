#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace tinkex::bench {

/// A program that this one has started, with its standard input and output at hand. Its standard
/// error is ours. Errors are thrown as std::runtime_error.
class ChildProcess {
 public:
  explicit ChildProcess(const std::vector<std::string>& command);
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  /// Ends it if it still runs.
  ~ChildProcess();

  pid_t pid() const noexcept { return pid_; }
  /// The next line of its output, without the line's end.
  std::string read_line();
  void write_line(const std::string& line);
  /// Waits for its end; throws unless that was a success.
  void join();

 private:
  std::string name_;
  pid_t pid_ = -1;
  std::FILE* to_ = nullptr;
  std::FILE* from_ = nullptr;
};

/// What a process holds right now, from /proc.
struct Footprint {
  long threads = 0;
  long rss_kib = 0;
};
Footprint footprint_of(pid_t pid);

/// CPU seconds that a process has used, to a hundredth.
double cpu_seconds_of(pid_t pid);

/// Looks at a process every few milliseconds and keeps the largest of everything.
class PeakWatch {
 public:
  explicit PeakWatch(pid_t pid);
  PeakWatch(const PeakWatch&) = delete;
  PeakWatch& operator=(const PeakWatch&) = delete;
  ~PeakWatch() { (void)stop(); }

  Footprint stop();

 private:
  std::atomic<bool> stopped_{false};
  Footprint peak_;
  std::thread thread_;
};

}  // namespace tinkex::bench
