#include "examples/support/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace sft {
namespace {

volatile std::sig_atomic_t requested = 0;

void on_interrupt(int) {
  const int saved = errno;
  requested = 1;
  constexpr char kText[] = "\nStopping after this step; Ctrl-C again ends at once, unsaved.\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kText, sizeof(kText) - 1);
  errno = saved;
}

}  // namespace

void watch_for_interrupt() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  action.sa_flags = SA_RESTART | SA_RESETHAND;
  ::sigaction(SIGINT, &action, nullptr);
}

bool interrupt_requested() { return requested != 0; }

}  // namespace sft
