#include "examples/support/interrupt.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <initializer_list>
#include <string_view>

namespace sft {
namespace {

void say_stopping(int signal) {
  constexpr std::string_view kCtrlC =
      "\nStopping: steps that were sent end first, then all is saved; Ctrl-C again ends at once.\n";
  constexpr std::string_view kOther =
      "\nStopping: steps that were sent end first, then all is saved.\n";
  const std::string_view text = signal == SIGINT ? kCtrlC : kOther;
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
}

void on_stop(int signal) {
  const int saved = errno;
  if (tinkex::torch_ext::programs::is_first_stop(signal)) say_stopping(signal);
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

const char* name_of_signal(int signal) {
  if (signal == SIGINT) return "Ctrl-C";
  return signal == SIGTERM ? "SIGTERM" : "SIGHUP";
}

}  // namespace sft
