#include "examples/support/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <initializer_list>
#include <string_view>

namespace sft {
namespace {

/// `timeout` and wrappers that pass a terminal's Ctrl-C on send one stop as several signals. Those
/// that come within this time are one.
constexpr std::int64_t kOneStop = 300;  // milliseconds

volatile std::sig_atomic_t requested = 0;

/// When that was, in milliseconds; 0: never.
std::atomic<std::int64_t> requested_at{0};
static_assert(decltype(requested_at)::is_always_lock_free);  // Else it is none for a handler.

std::int64_t milliseconds() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000 + 1;
}

/// Ends the program by a Ctrl-C that is a second one. Later SIGTERMs and SIGHUPs change nothing.
void on_later_stop(int signal, std::int64_t after) {
  if (signal != SIGINT || after < kOneStop) return;
  ::signal(SIGINT, SIG_DFL);
  ::raise(SIGINT);
}

void on_stop(int signal) {
  const int saved = errno;
  const std::int64_t now = milliseconds();
  std::int64_t first = 0;
  if (!requested_at.compare_exchange_strong(first, now)) {
    on_later_stop(signal, now - first);
    errno = saved;
    return;
  }
  requested = signal;
  constexpr std::string_view kCtrlC =
      "\nStopping: steps that were sent end first, then all is saved; Ctrl-C again ends at once.\n";
  constexpr std::string_view kOther =
      "\nStopping: steps that were sent end first, then all is saved.\n";
  const std::string_view text = signal == SIGINT ? kCtrlC : kOther;
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  errno = saved;
}

bool is_ignored(int signal) {
  struct sigaction now = {};
  return ::sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

}  // namespace

void watch_for_stop() {
  struct sigaction action = {};
  action.sa_handler = on_stop;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    // Shells start what runs in the background with Ctrl-C ignored; a SIGINT sent to it by name is
    // still meant.
    if (signal == SIGINT || !is_ignored(signal)) ::sigaction(signal, &action, nullptr);
  }
}

int stop_signal() { return requested; }

const char* name_of_signal(int signal) {
  if (signal == SIGINT) return "Ctrl-C";
  return signal == SIGTERM ? "SIGTERM" : "SIGHUP";
}

void ignore_write_signals() {
  for (const int signal : {SIGPIPE, SIGXFSZ}) ::signal(signal, SIG_IGN);
}

}  // namespace sft
