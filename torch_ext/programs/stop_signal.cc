#include "torch_ext/programs/stop_signal.h"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>

namespace tinkex::torch_ext::programs {
namespace {

/// `timeout` and wrappers that pass a terminal's Ctrl-C on send one stop as several signals, to the
/// process and to its group. Nobody presses Ctrl-C twice within this time.
constexpr std::int64_t kOneStop = 300;  // milliseconds

std::atomic<int> requested{0};
/// When that was, in milliseconds; 0: never.
std::atomic<std::int64_t> requested_at{0};
static_assert(decltype(requested)::is_always_lock_free);     // Else they are
static_assert(decltype(requested_at)::is_always_lock_free);  // none for a handler.

std::int64_t milliseconds() {
  timespec now = {};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000 + 1;
}

}  // namespace

bool is_first_stop(int signal) {
  const std::int64_t now = milliseconds();
  std::int64_t first = 0;
  if (requested_at.compare_exchange_strong(first, now)) {
    requested = signal;
    return true;
  }
  if (signal == SIGINT && now - first >= kOneStop) {
    ::signal(SIGINT, SIG_DFL);
    ::raise(SIGINT);
  }
  return false;
}

int stop_signal() { return requested; }

}  // namespace tinkex::torch_ext::programs
